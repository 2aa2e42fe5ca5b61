"""CycleGAN: translation between two domains from unpaired images."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses, values
from kerasgen.errors import UserError
from kerasgen.models.augmentation import augmented, check_augmentation
from kerasgen.models.base import GenerativeModel, ReplicaSeedGenerator
from kerasgen.models.batches import replica_count, unpacked
from kerasgen.models.checks import check_axes, check_judged, check_options, check_pictures, given_options, named
from kerasgen.models.declarations import ExportedNetwork, Loader, Reported, Teacher
from kerasgen.models.gradients import paper_adam, prepared
from kerasgen.models.image_pool import ImagePool
from kerasgen.models.pair_tasks import likeness
from kerasgen.models.recomputation import recomputed
from kerasgen.models.translation import size_multiple, translate_images
from kerasgen.networks.patchgan import patchgan, pixel_discriminator
from kerasgen.networks.resnet import resnet_generator
from kerasgen.networks.unet import unet_generator
from kerasgen.presets import Preset
from kerasgen.training.health import Answers, Comparable, Discriminator, Sign, Weight
from kerasgen.training.schedules import Stage, half_constant, staged
from kerasgen.typing import Batch, Config, Tensor

_GENERATORS: dict[str, Callable[..., keras.Model]] = {"resnet": resnet_generator, "unet": unet_generator}
_DISCRIMINATORS = {"patchgan": patchgan, "pixel": pixel_discriminator}
_NETWORKS = ("generator_a2b", "generator_b2a", "discriminator_a", "discriminator_b")
_GRADIENT_PENALTY = 10.0
_MADE_BY = "kerasgen.data.load_unpaired"


@keras.saving.register_keras_serializable(package="kerasgen")
class CycleGAN(GenerativeModel):
    """Unpaired image-to-image translation (Zhu et al. 2017, 1703.10593).

    Trains on dicts {"a": [batch, height, width, channels] in [-1, 1], "b": the same}; validation data may hold
    "truth_b" (what a should become) and "truth_a", and then reports PSNR in dB and SSIM against them. The
    generators' losses come first; the discriminators then judge the images from before the generators' update.
    All losses are means over pixels and over the batch. "sample_weight" [batch] weighs what each place of a batch
    adds to the losses of generators and discriminators, its images of both domains and their translations alike.

    Args:
        image_size: of the training images: pixels, or (height, width). Translation takes any size.
        channels: of both domains, 1 to 4.
        generator_type: "resnet" or "unet".
        generator_options: further arguments of `resnet_generator` or `unet_generator`.
        discriminator_type: "patchgan" or "pixel".
        discriminator_options: further arguments of `patchgan` or `pixel_discriminator`.
        lambda_cycle: weight of the cycle losses |G_b2a(G_a2b(a)) - a| and |G_a2b(G_b2a(b)) - b|.
        lambda_identity: weight of |G_a2b(b) - b| and |G_b2a(a) - a|, as a multiple of `lambda_cycle`; with 0
            these passes are not run.
        adversarial_loss: "lsgan" (the paper's), "vanilla" or "wgan_gp" (penalty weight 10).
        pool_size: generated images remembered for each discriminator; 0 for none.
        alternate_every: 0 updates generators and discriminators in each step; k updates the discriminators for
            k steps, then the generators for k, and so on.
        recompute: compute each translation of a training step again when its gradient is due, instead of keeping
            its activations (Chen et al. 2016, 1604.06174). The gradients are the same; a step takes about a third
            longer, and holds the activations of one translation rather than of all six. For generators without
            batch normalization and dropout.
        differentiable_augmentation: what a discriminator sees of each picture, for small sets: some of "color",
            "translation" and "cutout" (Zhao et al. 2020, 2006.10738).
        seed: of the pool's draws, of the gradient penalty's and of the augmentation's.
        generator_a2b, generator_b2a, discriminator_a, discriminator_b: your own networks instead.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        gan = CycleGAN(64, generator_options={"filters": 8, "blocks": 2})
        zebras = gan.translate(np.zeros((1, 64, 64, 3)))  # in [-1, 1], as its input
    """

    networks_run_again = True
    loaders = (Loader("load_unpaired", ("source_a", "source_b")),)
    reports = (
        Reported("generator_loss", on_bar=True),
        Reported("discriminator_loss"),
        Reported("adversarial_a2b"),
        Reported("adversarial_b2a"),
        Reported("cycle_a"),
        Reported("cycle_b"),
        Reported("identity_a"),
        Reported("identity_b"),
        Reported("discriminator_a_loss"),
        Reported("discriminator_b_loss"),
        Reported("psnr_a2b", "higher", validation_only=True, on_bar=True),
        Reported("ssim_a2b", "higher", validation_only=True),
        Reported("psnr_b2a", "higher", validation_only=True),
        Reported("ssim_b2a", "higher", validation_only=True),
        Reported("kernel", validation_only=True, on_bar=True, by_steps=False),
    )
    evaluation = "translation"
    seeded = True
    preview_file = "translations.png"
    image_range = (-1.0, 1.0)
    former_arguments: ClassVar = {
        "generator": "generator_type",
        "discriminator": "discriminator_type",
        "checkpoint": "recompute",
    }

    def __init__(
        self,
        image_size: int | Sequence[int] = 256,
        channels: int = 3,
        *,
        generator_type: str = "resnet",
        generator_options: dict[str, Config] | None = None,
        discriminator_type: str = "patchgan",
        discriminator_options: dict[str, Config] | None = None,
        lambda_cycle: float = 10.0,
        lambda_identity: float = 0.5,
        adversarial_loss: str = "lsgan",
        pool_size: int = 50,
        alternate_every: int = 0,
        recompute: bool = False,
        differentiable_augmentation: Sequence[str] = (),
        seed: int = 0,
        generator_a2b: keras.Model | None = None,
        generator_b2a: keras.Model | None = None,
        discriminator_a: keras.Model | None = None,
        discriminator_b: keras.Model | None = None,
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
        height, width = values.shape("image_size", sides, "height, width")
        self.image_size = (height, width)
        self.channels = channels
        self.generator_type, self.discriminator_type = generator_type, discriminator_type
        self.generator_options = given_options("generator_options", generator_options)
        self.discriminator_options = given_options("discriminator_options", discriminator_options)
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.adversarial_loss, self.pool_size = adversarial_loss, pool_size
        self.alternate_every, self.recompute, self.seed = alternate_every, recompute, seed
        self.differentiable_augmentation = check_augmentation(differentiable_augmentation)
        self._check_arguments()

        given = dict(zip(_NETWORKS, (generator_a2b, generator_b2a, discriminator_a, discriminator_b), strict=True))
        for name, network in given.items():
            setattr(self, name, network if network is not None else self._new_network(name))
        self._check_size()
        self._check_recomputation()

        self.pool_a, self.pool_b = ImagePool(pool_size, seed), ImagePool(pool_size, seed + 1)
        for pool in (self.pool_a, self.pool_b):
            pool.build((None, *self.image_size, channels))
        self.seed_generator = ReplicaSeedGenerator(seed)
        if alternate_every:
            options = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
            self.step = self.add_weight(name="step", shape=(), dtype="int32", **options)
        self.built = True

    def _new_network(self, name: str) -> keras.Model:
        if name.startswith("generator"):
            return _GENERATORS[self.generator_type](self.channels, name=name, **self.generator_options)
        return _DISCRIMINATORS[self.discriminator_type](self.channels, name=name, **self.discriminator_options)

    def _check_arguments(self) -> None:
        self._check_choice("generator_type", _GENERATORS)
        self._check_choice("discriminator_type", _DISCRIMINATORS)
        check_options(self.generator_options, _GENERATORS[self.generator_type], "generator_options")
        check_options(self.discriminator_options, _DISCRIMINATORS[self.discriminator_type], "discriminator_options")
        self._check_choice("adversarial_loss", ("lsgan", "vanilla", "wgan_gp"))
        self._check_not_negative("lambda_cycle", "lambda_identity")
        for name in ("pool_size", "alternate_every"):
            values.whole(name, self._arguments[name], least=0)
        values.seed("seed", self.seed)

    def _check_size(self) -> None:
        multiple = self.image_multiple
        if any(size % multiple for size in self.image_size):
            raise UserError(
                f"image_size is {self.image_size[0]}×{self.image_size[1]}, but these generators halve images until "
                f"they need multiples of {multiple}: choose such a size."
            )
        for discriminator in (self.discriminator_a, self.discriminator_b):
            check_judged(discriminator, self.image_size)

    def _check_recomputation(self) -> None:
        for generator in (self.generator_a2b, self.generator_b2a) if self.recompute else ():
            # Averages of batch normalization, seeds of dropout: a second run would change them a second time.
            if generator.non_trainable_variables:
                raise UserError(
                    f"recompute=True runs {generator.name} twice a step, but gradients don't train its variable "
                    f"{generator.non_trainable_variables[0].path}: give the generators norm='instance' and no "
                    "dropout, or leave recompute out."
                )

    # -- training -------------------------------------------------------------------------------------------

    def compile(  # type: ignore[override]  # its optimizers have names, and its losses are its own
        self,
        generator_optimizer: keras.optimizers.Optimizer | None = None,
        discriminator_optimizer: keras.optimizers.Optimizer | None = None,
        **kwargs: Config,
    ) -> None:
        """Set the optimizers; each updates both generators or both discriminators.

        Left out, they are the paper's: Adam with learning rate 2e-4 and beta_1 0.5. Its decay depends on the
        length of the training: `Adam(LinearDecay(2e-4, half, half), beta_1=0.5, epsilon=1e-8)`.
        """
        super().compile(optimizer=None, **kwargs)
        self.generator_optimizer = prepared(generator_optimizer or paper_adam(), self.generator_variables)
        self.discriminator_optimizer = prepared(discriminator_optimizer or paper_adam(), self.discriminator_variables)

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [self.generator_optimizer, self.discriminator_optimizer] if self.compiled else []

    @property
    def generator_variables(self) -> list[keras.Variable]:
        """What the generators' optimizer updates."""
        return self.generator_a2b.trainable_variables + self.generator_b2a.trainable_variables

    @property
    def discriminator_variables(self) -> list[keras.Variable]:
        """What the discriminators' optimizer updates."""
        return self.discriminator_a.trainable_variables + self.discriminator_b.trainable_variables

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        data, _, share = unpacked(data)
        a, b = self._domains(data)
        self._check_image_size(a, b)
        generators, discriminators = self.generator_variables, self.discriminator_variables
        with tf.GradientTape() as generator_tape:
            generator_losses, fake_a, fake_b = self.generator_losses(a, b, training=True)
            generator_penalty = self.layer_losses(generators)
        fake_a, fake_b = self.pool_a(fake_a, share), self.pool_b(fake_b, share)
        with tf.GradientTape() as discriminator_tape:
            discriminator_losses = self.discriminator_losses(a, b, fake_a, fake_b)
            discriminator_penalty = self.layer_losses(discriminators)
        generator_loss = generator_losses["generator_loss"]
        discriminator_loss = discriminator_losses["discriminator_loss"]
        # Both tapes have read the weights already, so the first update doesn't change the second's gradients.
        self._alternate(
            partial(
                self.update,
                discriminator_tape,
                discriminator_loss,
                share,
                discriminators,
                self.discriminator_optimizer,
                discriminator_penalty,
            ),
            partial(
                self.update,
                generator_tape,
                generator_loss,
                share,
                generators,
                self.generator_optimizer,
                generator_penalty,
            ),
        )
        tracked = {**generator_losses, **discriminator_losses}
        tracked |= {"generator_loss": generator_loss + generator_penalty}
        tracked |= {"discriminator_loss": discriminator_loss + discriminator_penalty}
        self.track(tracked, share)
        return self.results(*tracked)

    def _check_image_size(self, *batches: Tensor) -> None:
        for images in batches:
            if tuple(images.shape[1:3]) != self.image_size:
                raise UserError(
                    f"The model was made for images of {self.image_size[0]}×{self.image_size[1]} pixels, but got "
                    f"{images.shape[1]}×{images.shape[2]}: load them so, or give the model another image_size."
                )

    def _alternate(self, update_discriminators: Callable[..., None], update_generators: Callable[..., None]) -> None:
        if not self.alternate_every:
            update_generators()
            update_discriminators()
            return
        generators_turn = (tf.convert_to_tensor(self.step) // self.alternate_every) % 2 == 1
        if replica_count() == 1:
            # The other networks' gradients are not even computed; on several devices, none could meet in a branch.
            tf.cond(generators_turn, _returning_zero(update_generators), _returning_zero(update_discriminators))
        else:
            update_generators(when=generators_turn)
            update_discriminators(when=tf.logical_not(generators_turn))
        self.step.assign_add(1)

    def generator_losses(
        self, a: Tensor, b: Tensor, training: bool = False
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the generators' losses on images of both domains, and the translations that they came from.

        Returns:
            Losses [batch] by name ("generator_loss" is the weighted sum), images like a, images like b.
        """
        a2b, b2a = self._translations(training)
        fake_b, fake_a = a2b(a), b2a(b)
        terms = {
            "adversarial_a2b": losses.adversarial_generator_loss(
                self._judged(self.discriminator_b, fake_b, training), self.adversarial_loss
            ),
            "adversarial_b2a": losses.adversarial_generator_loss(
                self._judged(self.discriminator_a, fake_a, training), self.adversarial_loss
            ),
            "cycle_a": losses.absolute_error(a, b2a(fake_b)),
            "cycle_b": losses.absolute_error(b, a2b(fake_a)),
        }
        total = terms["adversarial_a2b"] + terms["adversarial_b2a"]
        total += self.lambda_cycle * (terms["cycle_a"] + terms["cycle_b"])
        if self.lambda_identity:
            terms["identity_a"] = losses.absolute_error(a, b2a(a))
            terms["identity_b"] = losses.absolute_error(b, a2b(b))
            total += self.lambda_cycle * self.lambda_identity * (terms["identity_a"] + terms["identity_b"])
        return {"generator_loss": total, **terms}, fake_a, fake_b

    def _judged(self, discriminator: keras.Model, images: Tensor, training: bool) -> Tensor:
        return discriminator(self._as_seen(images) if training else images, training=training)

    def _as_seen(self, images: Tensor) -> Tensor:
        """Return images as the discriminators see them in training."""
        kinds = self.differentiable_augmentation
        return augmented(images, kinds, self.seed_generator.next()) if kinds else images

    def _translations(self, training: bool) -> list[Callable[[Tensor], Tensor]]:
        """Both generators as functions of images."""
        translations: list[Callable[[Tensor], Tensor]] = [
            partial(g, training=training) for g in (self.generator_a2b, self.generator_b2a)
        ]
        return recomputed(*translations) if training and self.recompute else translations

    def discriminator_losses(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor) -> dict[str, Tensor]:
        """Return the discriminators' losses [batch] by name; "discriminator_loss" is their sum."""
        loss_a = self._discriminator_loss(self.discriminator_a, a, tf.stop_gradient(fake_a))
        loss_b = self._discriminator_loss(self.discriminator_b, b, tf.stop_gradient(fake_b))
        return {
            "discriminator_loss": loss_a + loss_b,
            "discriminator_a_loss": loss_a,
            "discriminator_b_loss": loss_b,
        }

    def _discriminator_loss(self, discriminator: keras.Model, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = self._as_seen(real), self._as_seen(fake)
        loss = losses.adversarial_discriminator_loss(
            discriminator(real, training=True), discriminator(fake, training=True), self.adversarial_loss
        )
        if self.adversarial_loss == "wgan_gp":
            seed = self.seed_generator.next()
            loss += _GRADIENT_PENALTY * _gradient_penalty(discriminator, real, fake, seed)
        return loss

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        data, _, share = unpacked(data)
        a, b = self._domains(data)
        values, fake_a, fake_b = self.generator_losses(a, b)
        values["generator_loss"] += self.layer_losses(self.generator_variables)
        for truth, fake, direction in (("truth_b", fake_b, "a2b"), ("truth_a", fake_a, "b2a")):
            if truth in data:
                check_pictures(data[truth], self.image_range, f"images {truth!r}")
                values |= _paired_quality(fake, data[truth], direction)
        self.track(values, share)
        return self.results(*values)

    def check_batch(self, data: Tensor) -> None:
        self._domains(unpacked(data)[0])

    def _domains(self, data: Batch) -> tuple[Tensor, Tensor]:
        takes = 'CycleGAN trains on dicts {"a": images, "b": images}'
        data = named(data, ("a", "b"), takes, _MADE_BY)
        for name in ("a", "b"):
            check_axes(data[name], what=f"images of domain {name}")
            if data[name].shape[-1] != self.channels:
                raise UserError(
                    f"The images of domain {name} have {data[name].shape[-1]} channels, but the model has "
                    f"{self.channels}: load them with as many, or give the model channels={data[name].shape[-1]}."
                )
            check_pictures(data[name], self.image_range, f"images of domain {name}")
        return tf.cast(data["a"], tf.float32), tf.cast(data["b"], tf.float32)

    # -- use ------------------------------------------------------------------------------------------------

    def predict_step(self, data: Tensor) -> dict[str, Tensor]:
        x, _, _ = unpacked(data)
        names = "b" if isinstance(x, Mapping) and "b" in x else "a"
        named(x, names, 'CycleGAN takes dicts {"a": images, "b": images}, or one of both', _MADE_BY)
        return super().predict_step(data)

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Translate {"a", "b"} images to {"a2b", "b2a"}, their translations; either domain may be missing."""
        domains = {"a2b": "a", "b2a": "b"}
        return {
            direction: network(inputs[domains[direction]], training=training)
            for direction, network in self.translators().items()
            if domains[direction] in inputs
        }

    def translators(self) -> dict[str, keras.Model]:
        return {"a2b": self.generator_a2b, "b2a": self.generator_b2a}

    def translate(self, images: Tensor, direction: str = "a2b", memory: int | None = None) -> np.ndarray:
        """Translate images of any size.

        Args:
            images: [n, height, width, channels], or one [height, width, channels], in [-1, 1].
            direction: "a2b" or "b2a".
            memory: bytes that may be taken; None is half of what is free. Images for which they don't suffice go
                strip by strip: the same numbers.

        Returns:
            float32 images of the same shape, clipped to [-1, 1]. Sizes that the generator can't divide are
            mirrored at the right and bottom edge first, and cut back.

        Raises:
            UserError: the direction is misspelt, or the images don't fit.
        """
        networks = self.translators()
        if direction not in networks:
            raise UserError(f"direction={direction!r} is unknown: choose 'a2b' or 'b2a'.")
        return translate_images(networks[direction], images, memory=memory)

    def preview(self, n: int = 8, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        if not isinstance(inputs, Mapping):
            raise UserError("A CycleGAN has pictures only of inputs: give ImageGrid a batch, inputs=….")
        a = np.asarray(inputs["a"][:n])
        fake = self.translate(a)
        pictures = {"input": a, "translation": fake}
        if "truth_b" in inputs:
            pictures["truth"] = np.asarray(inputs["truth_b"][:n])
        pictures["cycle"] = self.translate(fake, "b2a")
        return {title: np.clip(images * 0.5 + 0.5, 0.0, 1.0) for title, images in pictures.items()}

    @property
    def signs(self) -> tuple[Sign, ...]:
        nothing_ties = "nothing ties a translation to what is translated"
        found: list[Sign] = [Weight("lambda_cycle", self.lambda_cycle, nothing_ties)]
        found += [Comparable("cycle_a"), Comparable("cycle_b")]
        chance = losses.CHANCE.get(self.adversarial_loss)
        if chance is not None:
            names = ("discriminator_a_loss", "discriminator_b_loss")
            found += [Discriminator(name, chance, alone=True) for name in names]
        return tuple(found)

    def answers(self, batch: Batch) -> Answers:
        _, b = self._domains(unpacked(batch)[0])
        shown = self.preview(n=len(b), inputs=batch)
        real = b.numpy() * 0.5 + 0.5
        made, given = shown["translation"], shown["input"]
        return Answers(shown, made, real, shown.get("truth"), given, returned=shown["cycle"])

    def forget_training(self) -> None:
        self.pool_a.empty()
        self.pool_b.empty()

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return both generators: images in [-1, 1] to images in [-1, 1]."""
        generators = {"generator_a2b": self.generator_a2b, "generator_b2a": self.generator_b2a}
        return {name: ExportedNetwork(network) for name, network in generators.items()}

    def teachers(self) -> dict[str, Teacher]:
        # A critic's distance, wgan_gp's, is none of the losses that a student has.
        judged = self.adversarial_loss != "wgan_gp"
        found = {}
        for direction, source, judge in (("a2b", "a", self.discriminator_b), ("b2a", "b", self.discriminator_a)):
            found[direction] = Teacher(
                self.translators()[direction],
                self.generator_type,
                {"channels": self.channels, **self.generator_options},
                source=f"source_{source}",
                discriminator=judge if judged else None,
                conditional=False,
                adversarial_loss=self.adversarial_loss if judged else "lsgan",
            )
        return found

    @classmethod
    def resized(cls, config: Mapping[str, Config], size: int) -> dict[str, Config]:
        return {**config, "image_size": size}

    @property
    def picture_shape(self) -> tuple[int | None, int | None, int]:
        return (*self.image_size, self.channels)

    @property
    def image_multiple(self) -> int:
        """What height and width must be divisible by."""
        return max(size_multiple(self.generator_a2b), size_multiple(self.generator_b2a))

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each generator's own domain; {"image"} serves both."""
        a, b = (batch.get(name, batch.get("image")) for name in ("a", "b"))
        return {"generator_a2b": np.asarray(a), "generator_b2a": np.asarray(b)}

    # -- recipe and config ----------------------------------------------------------------------------------

    def compile_for_recipe(
        self, steps_per_epoch: int, epochs: int | Sequence[Stage], learning_rate: float = 2e-4
    ) -> None:
        """Adam with beta_1 0.5, constant for half of the training, then linearly to 0."""
        schedule = staged(partial(half_constant, learning_rate), steps_per_epoch, epochs)
        self.compile(paper_adam(schedule), paper_adam(schedule))

    @classmethod
    def upgraded_config(cls, config: Mapping[str, Config]) -> dict[str, Config]:
        found = super().upgraded_config(config)
        size = config.get("image_size")
        if "checkpoint" in config and isinstance(size, list | tuple) and size[0] == size[1]:
            found["image_size"] = size[0]  # which the first layout wrote as (height, width)
        return found

    def get_compile_config(self) -> dict[str, Config] | None:
        if not self.compiled:
            return None
        names = ("generator_optimizer", "discriminator_optimizer")
        optimizers = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}
        return {**optimizers, "gradient_accumulation_steps": self._accumulation_steps, **self.frozen_config()}

    def compile_from_config(self, config: dict[str, Config]) -> None:
        config = self.frozen_again(config)
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def _returning_zero(update: Callable[[], None]) -> Callable[[], Tensor]:
    def branch() -> Tensor:
        update()
        return tf.constant(0)

    return branch


def _gradient_penalty(discriminator: keras.Model, real: Tensor, fake: Tensor, seed: Tensor) -> Tensor:
    """(‖∇ mean logit‖₂ - 1)² at a random point between each real and generated image: [batch]."""
    share = tf.random.stateless_uniform([tf.shape(real)[0], 1, 1, 1], seed=seed)
    between = real + share * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(between)
        score = tf.reduce_mean(discriminator(between, training=True), axis=[1, 2, 3])
    slope = tf.reduce_sum(tf.square(tape.gradient(score, between)), axis=[1, 2, 3])
    return tf.square(tf.sqrt(slope + 1e-12) - 1.0)


def _paired_quality(fake: Tensor, truth: Tensor, direction: str) -> dict[str, Tensor]:
    found = likeness(fake, fake, tf.cast(truth, tf.float32))
    return {f"{name}_{direction}": found[name] for name in ("psnr", "ssim") if name in found}


MODEL = CycleGAN
_FOLDERS = {"channels": 3, "batch_size": 1, "mode": "resize_and_crop"}
_PAPER = {"epochs": 200, "learning_rate": 2e-4}
PRESETS = {
    "cyclegan_resnet_9": Preset(
        description="the paper's CycleGAN: 9 residual blocks, for 256 pixels and more, from two folders of yours",
        config={"image_size": 256, "generator_options": {"blocks": 9}},
        data={**_FOLDERS, "image_size": 256},
        recipe=_PAPER,
        macs=49_551_507_456,
    ),
    "cyclegan_resnet_6": Preset(
        description="the paper's CycleGAN for 128 pixels: 6 residual blocks, from two folders of yours",
        config={"image_size": 128, "generator_options": {"blocks": 6}},
        data={**_FOLDERS, "image_size": 128},
        recipe=_PAPER,
        macs=8_763_998_208,
    ),
    "cyclegan_unet_256": Preset(
        description="CycleGAN with U-Nets of 8 levels and instance norm, 256 pixels, from two folders of yours",
        config={"image_size": 256, "generator_type": "unet", "generator_options": {"norm": "instance"}},
        data={**_FOLDERS, "image_size": 256},
        recipe=_PAPER,
        macs=6_048_186_368,
    ),
    "cyclegan_unet_128": Preset(
        description="CycleGAN with U-Nets of 7 levels and instance norm, 128 pixels, from two folders of yours",
        config={
            "image_size": 128,
            "generator_type": "unet",
            "generator_options": {"downsamplings": 7, "norm": "instance"},
        },
        data={**_FOLDERS, "image_size": 128},
        recipe=_PAPER,
        macs=1_505_755_136,
    ),
    "style_transfer": Preset(
        description="one style of pictures to another, 128 pixels: two folders, or cycle_gan/monet2photo's domains",
        config={"image_size": 128, "generator_options": {"blocks": 6}},
        data={**_FOLDERS, "image_size": 128},
        recipe=_PAPER,
        macs=8_763_998_208,
    ),
    "cyclegan_digits_ink": Preset(
        description="handwritten digits to blue ink on cream paper, 16×16, with a known truth; under a minute",
        config={
            "image_size": 16,
            "generator_options": {"filters": 16, "blocks": 2, "downsamplings": 0, "stem_kernel": 3, "norm": "none"},
            "discriminator_options": {"filters": 32, "downsamplings": 2, "norm": "none"},
            "lambda_identity": 0.0,
        },
        data={"source_a": "digits", "source_b": "digits_ink", "image_size": 16, "batch_size": 16, "mode": "none"},
        recipe={"epochs": 18, "learning_rate": 1e-3},
        macs=2_580_480,
    ),
    "cyclegan_lines_emoji": Preset(
        description="line drawings of 64 pixels to OpenMoji's colors and back, learned without pairs",
        config={
            "image_size": 64,
            # A U-Net sees the whole drawing. A discriminator that saw as much would win, and colors become clouds;
            # the identity loss keeps white paper white.
            "generator_type": "unet",
            "generator_options": {"filters": 24, "downsamplings": 4, "norm": "instance"},
            "discriminator_options": {"filters": 32, "downsamplings": 2},
            "lambda_cycle": 5.0,
        },
        data={
            "source_a": "openmoji_lines",
            "source_b": "openmoji",
            "image_size": 64,
            "batch_size": 4,
            "mode": "shift",
        },
        recipe={"epochs": 30, "learning_rate": 4e-4},
        macs=41_287_680,
    ),
    "cyclegan_photo_dusk": Preset(
        description="photographs to dusk, 32×32, with a known truth; about two minutes",
        config={
            "image_size": 32,
            "generator_options": {
                "filters": 16,
                "blocks": 2,
                "downsamplings": 0,
                "stem_kernel": 3,
                "norm": "none",
                "residual": True,
            },
            # A discriminator that sees much of a picture would learn the few photographs by heart, and a cycle
            # weight of 10 would hold the colors where they are for most of so short a training.
            "discriminator_options": {"filters": 32, "downsamplings": 1, "norm": "none"},
            "lambda_cycle": 3.0,
            "lambda_identity": 0.0,
        },
        data={"source_a": "photos", "source_b": "photo_dusk", "image_size": 32, "batch_size": 8, "mode": "crop"},
        recipe={"epochs": 10, "learning_rate": 1e-3},
        macs=10_321_920,
    ),
}
