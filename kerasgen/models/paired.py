"""Paired image-to-image translation: super-resolution, denoising, enhancement, inpainting, and pix2pix."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses
from kerasgen.errors import UserError
from kerasgen.models.augmentation import augmented, check_augmentation
from kerasgen.models.base import ReplicaSeedGenerator
from kerasgen.models.batches import Share, unpacked
from kerasgen.models.checks import (
    check_axes,
    check_judged,
    check_options,
    check_pictures,
    check_sides,
    given_options,
    named,
)
from kerasgen.models.declarations import ExportedNetwork, Loader, Reported, Teacher
from kerasgen.models.discriminated import Discriminated
from kerasgen.models.gradients import paper_adam
from kerasgen.models.learned_size import at_learned_size
from kerasgen.models.pair_tasks import TASKS, enlarged_input, likeness, untouched
from kerasgen.models.translation import size_multiple, translate_images
from kerasgen.networks.colorizer import colorizer
from kerasgen.networks.inpainting import inpainter
from kerasgen.networks.patchgan import patchgan
from kerasgen.networks.resnet import resnet_generator
from kerasgen.networks.restoration import restorer, super_resolver
from kerasgen.networks.unet import unet_generator, without_noise
from kerasgen.presets import Preset
from kerasgen.training.health import Answers, Comparable, Discriminator, Sign, Yardstick
from kerasgen.training.schedules import Stage, half_constant, staged, warmed_up_cosine
from kerasgen.typing import Batch, Config, Tensor

GENERATORS: dict[str, Callable[..., keras.Model]] = {
    "restorer": restorer,
    "super_resolver": super_resolver,
    "inpainter": inpainter,
    "colorizer": colorizer,
    "resnet": resnet_generator,
    "unet": unet_generator,
}


_MADE_BY = "kerasgen.data.load_pairs or load_paired"
# What a generator is made for, where it is made for one task only.
_TASKS_OF = {"super_resolver": "super_resolution", "inpainter": "inpainting"}


@keras.saving.register_keras_serializable(package="kerasgen")
class PairedTranslator(Discriminated):
    """A generator trained on pairs by L1, and with an adversarial weight by a conditional PatchGAN too: pix2pix.

    Isola et al. 2017, 1611.07004. Trains on dicts {"a": images in [-1, 1], "b": what they should become}, as
    `kerasgen.data.load_pairs` reads them and `load_paired` makes them. Losses are means over pixels and over the
    batch. Validation reports PSNR in dB and SSIM of the clipped output against b, and `psnr_input`: that of the
    untouched input, enlarged by bicubic interpolation where b is larger, with black in the hole where there is one.

    Args:
        generator_type: "restorer", "super_resolver", "inpainter", "colorizer", "resnet" or "unet".
        generator_options: further arguments of that network.
        discriminator_options: arguments of `patchgan`, which exists only if `lambda_adversarial` isn't 0.
        lambda_l1: weight of the mean absolute error; pix2pix has 100 beside an adversarial weight of 1.
        lambda_l2: weight of the mean squared error.
        lambda_gradient: weight of the error of differences between neighboring pixels, which keeps flat areas flat.
        lambda_adversarial: weight of the adversarial loss; 0 trains no discriminator.
        adversarial_loss: "vanilla" (pix2pix') or "lsgan".
        differentiable_augmentation: what a discriminator sees of each picture, for small sets: some of "color",
            "translation" and "cutout" (Zhao et al. 2020, 2006.10738).
        seed: of the augmentation.
        task: what `score` compares with: "super_resolution", "inpainting" or "restoration"; None takes the one that
            the generator is made for.
        generator_a2b: your own network instead.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        model = PairedTranslator("resnet", generator_options={"filters": 8, "blocks": 2})
        colored = model.translate(np.zeros((1, 32, 48, 3)))  # in [-1, 1], as its input
    """

    loaders: ClassVar[tuple[Loader, ...]] = (
        Loader("load_paired", needs=("degradation",)),
        Loader("load_pairs", ("source_a", "source_b")),
    )
    reports: ClassVar[tuple[Reported, ...]] = (
        Reported("loss", on_bar=True),
        Reported("l1_loss"),
        Reported("adversarial_loss"),
        Reported("discriminator_loss"),
        Reported("psnr", "higher", validation_only=True, on_bar=True),
        Reported("ssim", "higher", validation_only=True),
        Reported("psnr_input", None, validation_only=True),
    )
    seeded = True
    evaluation = "pairs"
    preview_file = "restorations.png"
    image_range = (-1.0, 1.0)
    former_arguments: ClassVar = {"generator": "generator_type"}

    def __init__(
        self,
        generator_type: str = "restorer",
        *,
        generator_options: dict[str, Config] | None = None,
        discriminator_options: dict[str, Config] | None = None,
        lambda_l1: float = 1.0,
        lambda_l2: float = 0.0,
        lambda_gradient: float = 0.0,
        lambda_adversarial: float = 0.0,
        adversarial_loss: str = "vanilla",
        differentiable_augmentation: Sequence[str] = (),
        seed: int = 0,
        task: str | None = None,
        generator_a2b: keras.Model | None = None,
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        self.generator_type = generator_type
        self.generator_options = given_options("generator_options", generator_options)
        self.discriminator_options = given_options("discriminator_options", discriminator_options)
        self.lambda_l1, self.lambda_l2, self.lambda_adversarial = lambda_l1, lambda_l2, lambda_adversarial
        self.lambda_gradient, self.adversarial_loss = lambda_gradient, adversarial_loss
        self.differentiable_augmentation = check_augmentation(differentiable_augmentation)
        # Only where it is drawn from: checkpoints of a model without it have no place for it.
        self.seed_generator = ReplicaSeedGenerator(seed) if self.differentiable_augmentation else None
        self.task = task or _TASKS_OF.get(generator_type, "restoration")
        self._check_arguments()
        self.generator_a2b = generator_a2b or GENERATORS[generator_type](**self.generator_options)
        self.discriminator = self._new_discriminator() if lambda_adversarial else None
        self.built = True

    def _new_discriminator(self) -> keras.Model:
        channels = {"condition_channels": self.generator_a2b.input_shape[-1]}
        return patchgan(self.generator_a2b.output_shape[-1], **{**channels, **self.discriminator_options})

    def _check_arguments(self) -> None:
        self._check_choice("generator_type", GENERATORS)
        check_options(self.generator_options, GENERATORS[self.generator_type], "generator_options")
        check_options(self.discriminator_options, patchgan, "discriminator_options")
        self._check_choice("adversarial_loss", ("vanilla", "lsgan"))
        if self.task not in TASKS:
            raise UserError(f"task is {self.task!r}: choose one of {', '.join(TASKS)}.")
        self._check_not_negative("lambda_l1", "lambda_l2", "lambda_gradient", "lambda_adversarial")

    # -- training -------------------------------------------------------------------------------------------

    @property
    def generator_variables(self) -> list[keras.Variable]:
        """What the first optimizer updates."""
        return self.generator_a2b.trainable_variables

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        a, b, share = self._pair(data)
        variables = self.generator_variables
        with tf.GradientTape() as tape:
            fake = self.generator_a2b(a, training=True)
        judged = self._update_discriminator(a, b, tf.stop_gradient(fake), share)
        with tape:  # again: the discriminator that judges the picture has learned from it, as in the paper's code
            values = self._losses_of(fake, a, b, training=True)
            penalty = self.layer_losses(variables)
        self.update(tape, values["loss"], share, variables, self.optimizer, penalty)
        values["loss"] += penalty
        values |= judged
        self.track(values, share)
        return self.results(*values)

    def _update_discriminator(self, a: Tensor, b: Tensor, fake: Tensor, share: Share) -> dict[str, Tensor]:
        """Return the discriminator's loss [batch] from before the update, by name; nothing where there is none."""
        if self.discriminator is None:
            return {}
        check_judged(self.discriminator, fake.shape[1:3])
        variables = self.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            loss = self._discriminator_loss(a, b, fake)
            penalty = self.layer_losses(variables)
        self.update(tape, loss, share, variables, self.discriminator_optimizer, penalty)
        return {"discriminator_loss": loss + penalty}

    def generator_losses(self, a: Tensor, b: Tensor, training: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        """Losses [batch] by name, of which "loss" is the weighted sum, and the generator's output."""
        fake = self.generator_a2b(a, training=training)
        return self._losses_of(fake, a, b, training), fake

    def _losses_of(self, fake: Tensor, a: Tensor, b: Tensor, training: bool) -> dict[str, Tensor]:
        if not fake.shape.is_compatible_with(b.shape):
            made, wanted = (tuple(images.shape[1:]) for images in (fake, b))
            raise UserError(
                f'Of images "a" {tuple(a.shape[1:])} the generator makes {made}, but "b" are {wanted}: choose a '
                "degradation, or pairs, that it is made for."
            )
        values = {"l1_loss": losses.absolute_error(b, fake)}
        total = self.lambda_l1 * values["l1_loss"]
        if self.lambda_l2:
            total += self.lambda_l2 * losses.squared_error(b, fake)
        if self.lambda_gradient:
            total += self.lambda_gradient * losses.gradient_error(b, fake)
        if self.discriminator is not None:
            check_judged(self.discriminator, fake.shape[1:3])
            logits = self.discriminator(self._as_seen(fake, a, training), training=training)
            values["adversarial_loss"] = losses.adversarial_generator_loss(logits, self.adversarial_loss)
            total += self.lambda_adversarial * values["adversarial_loss"]
        return {"loss": total, **values}

    def _discriminator_loss(self, a: Tensor, b: Tensor, fake: Tensor) -> Tensor:
        assert self.discriminator is not None  # who trains none doesn't ask for its loss
        real_logits = self.discriminator(self._as_seen(b, a, training=True), training=True)
        fake_logits = self.discriminator(self._as_seen(fake, a, training=True), training=True)
        return losses.adversarial_discriminator_loss(real_logits, fake_logits, self.adversarial_loss)

    def _as_seen(self, images: Tensor, condition: Tensor, training: bool) -> Tensor:
        """Return a condition, enlarged to its picture's size, and the picture, as the discriminator sees them."""
        if condition.shape[1:3] != images.shape[1:3]:
            condition = tf.image.resize(condition, tf.shape(images)[1:3], "nearest")
        if not (training and self.seed_generator):
            return tf.concat([condition, images], axis=-1)
        return augmented(images, self.differentiable_augmentation, self.seed_generator.next(), condition)

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        a, b, share = self._pair(data)
        values, fake = self.generator_losses(a, b)
        values["loss"] += self.layer_losses(self.generator_variables)
        values |= likeness(fake, a, b)
        self.track(values, share)
        return self.results(*values)

    def check_batch(self, data: Tensor) -> None:
        self._pair(data)

    def _pair(self, data: Tensor) -> tuple[Tensor, Tensor, Share]:
        data, _, share = unpacked(data)
        takes = 'This model trains on dicts {"a": images, "b": what they should become}'
        data = named(data, ("a", "b"), takes, _MADE_BY)
        for name in ("a", "b"):
            check_axes(data[name], what=f"images {name!r}")
        wanted = self.generator_a2b.input_shape[-1]
        if data["a"].shape[-1] != wanted:
            raise UserError(
                f'The images "a" have {data["a"].shape[-1]} channels, but the generator '
                f"{self.generator_a2b.name!r} takes {wanted}: choose the degradation that it is made for."
            )
        check_sides(data["a"], self.image_multiple, 'images "a"')
        for name in ("a", "b"):
            check_pictures(data[name], self.image_range, f"images {name!r}")
        return tf.cast(data["a"], tf.float32), tf.cast(data["b"], tf.float32), share

    # -- use ------------------------------------------------------------------------------------------------

    def predict_step(self, data: Tensor) -> Tensor:
        x, _, _ = unpacked(data)
        if not tf.is_tensor(x):
            named(x, ("a",), 'This model takes images, or dicts {"a": images}', _MADE_BY)
        return super().predict_step(data)

    def call(self, inputs: Batch, training: bool = False) -> Tensor:
        """Images as the generator takes them, or a dict with them as "a", to the generator's output."""
        images = inputs["a"] if isinstance(inputs, dict) else inputs
        return self.generator_a2b(images, training=training)

    def translate(self, images: Tensor, memory: int | None = None) -> np.ndarray:
        """Images [n, height, width, channels], or one [height, width, channels], of any size in [-1, 1].

        Args:
            images: those.
            memory: bytes that may be taken; None is half of what is free. Images for which they don't suffice go
                strip by strip: the same numbers.

        Returns:
            float32 images clipped to [-1, 1], as large as the input times the generator's scale.

        Raises:
            UserError: the images don't fit.
        """
        return translate_images(self.generator_a2b, images, memory=memory)

    def score(self, dataset: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """PSNR in dB of a dataset's pairs, beside that of the untouched input and of the usual baseline.

        PSNR is that of each picture, averaged. Super-resolution is measured on luma, without a rim of 4 pixels, and
        its baseline is bicubic enlargement, which is also its untouched input. Inpainting is measured in the holes,
        of all pictures together; its baseline fills each hole with the mean of the known pixels. For all else the
        baseline is the best single gain and offset of each picture, which nobody can know without the truth.

        Returns:
            {"pictures", "psnr", "psnr_input", "psnr_BASELINE"}.
        """
        return TASKS[self.task].score(self.translate, dataset)

    def preview(self, n: int = 8, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        if not isinstance(inputs, Mapping):
            raise UserError("This model has pictures only of inputs: give ImageGrid a batch, inputs=….")
        a, b = np.asarray(inputs["a"][:n]), np.asarray(inputs["b"][:n])
        pictures = {"input": enlarged_input(a, b), "restoration": self.translate(a), "truth": b}
        return {title: np.clip(images * 0.5 + 0.5, 0.0, 1.0) for title, images in pictures.items()}

    @property
    def signs(self) -> tuple[Sign, ...]:
        signs = (Comparable("l1_loss"), Yardstick("psnr", "psnr_input", 1, 0.05, "dB"))
        if self.discriminator is None:
            return signs
        return (*signs, Discriminator("discriminator_loss", losses.CHANCE[self.adversarial_loss], alone=False))

    def answers(self, batch: Batch) -> Answers:
        a, b, _ = self._pair(batch)
        shown = self.preview(n=len(b), inputs=batch)
        truth, given = shown["truth"], untouched(a, b).numpy() * 0.5 + 0.5
        # What a discriminator helps with is a change of look, which a negative may be.
        return Answers(shown, shown["restoration"], truth, truth, given, alike=self.discriminator is None)

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the generator: images in [-1, 1] to images in [-1, 1], without what it draws at test."""
        return {"generator_a2b": ExportedNetwork(without_noise(self.generator_a2b))}

    def teachers(self) -> dict[str, Teacher]:
        network = without_noise(self.generator_a2b)
        kind, options = self.generator_type, self.generator_options
        judge, loss = self.discriminator, self.adversarial_loss
        taught = Teacher(network, kind, options, self.task, discriminator=judge, adversarial_loss=loss)
        return {"a2b": taught}

    def translators(self) -> dict[str, keras.Model]:
        return {"a2b": self.generator_a2b}

    def translators_at(self, size: int) -> dict[str, keras.Model]:
        if self.generator_type != "colorizer":
            return self.translators()
        return {"a2b": at_learned_size(self.generator_a2b, size)}

    @classmethod
    def resized(cls, config: Mapping[str, Config], size: int) -> dict[str, Config]:
        if config.get("generator_type") != "unet":
            return dict(config)
        options = config.get("generator_options", {})
        halvings = (size & -size).bit_length() - 1
        levels = min(halvings, options.get("downsamplings", 8))
        return {**config, "generator_options": {**options, "downsamplings": levels}}

    @property
    def picture_shape(self) -> tuple[int | None, int | None, int]:
        return self.generator_a2b.input_shape[1:]

    @property
    def image_multiple(self) -> int:
        """What height and width must be divisible by."""
        return size_multiple(self.generator_a2b)

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the degraded pictures, or those of {"image"}; none for a generator that takes a mask beside them."""
        images = np.asarray(batch.get("a", batch.get("image")))
        return {"generator_a2b": images} if images.shape[-1] == self.generator_a2b.input_shape[-1] else {}

    # -- recipe and config ----------------------------------------------------------------------------------

    def compile_for_recipe(
        self,
        steps_per_epoch: int,
        epochs: int | Sequence[Stage],
        learning_rate: float = 2e-3,
        warmup_steps: int = 100,
        decay: str = "cosine",
    ) -> None:
        """Compile by a recipe.

        Args:
            steps_per_epoch: optimizer steps.
            epochs: of the training, or its stages.
            learning_rate: the largest.
            warmup_steps: of the cosine.
            decay: "cosine": Adam with gradients clipped to norm 1, its learning rate warmed up and then half a cosine
                to 0. "linear", pix2pix': two Adams with beta_1 0.5, constant for half of the training, then linearly
                to 0.

        Raises:
            UserError: there is no such decay.
        """
        if decay == "linear":
            schedule = staged(partial(half_constant, learning_rate), steps_per_epoch, epochs)
            self.compile(paper_adam(schedule), paper_adam(schedule))
            return
        if decay != "cosine":
            raise UserError(f"decay is {decay!r}: choose 'cosine' or 'linear'.")
        schedule = staged(partial(warmed_up_cosine, learning_rate, warmup_steps), steps_per_epoch, epochs)
        self.compile(keras.optimizers.Adam(schedule, clipnorm=1.0))


MODEL = PairedTranslator
# Small squares and batches, so that a few minutes hold many steps.
_PAIRS = {"source": "pictures", "image_size": 48, "batch_size": 8}
_LOW_LIGHT = [{"kind": "low_light"}, {"kind": "noise", "sigma": 0.01}]
PRESETS = {
    "super_resolution_x2": Preset(
        description="twice as large and sharper than bicubic; begins as bicubic enlargement",
        config={"generator_type": "super_resolver", "generator_options": {"scale": 2, "filters": 48, "blocks": 6}},
        data={**_PAIRS, "degradation": [{"kind": "shrink", "factor": 2}]},
        recipe={"epochs": 2, "learning_rate": 1e-3},
        macs=579_849_984,
    ),
    "super_resolution_x4": Preset(
        description="four times as large and sharper than bicubic; begins as bicubic enlargement",
        config={"generator_type": "super_resolver", "generator_options": {"scale": 4, "filters": 48, "blocks": 6}},
        data={**_PAIRS, "image_size": 96, "degradation": [{"kind": "shrink", "factor": 4}]},
        recipe={"epochs": 3, "learning_rate": 1e-3},
        macs=2_383_985_664,
    ),
    "face_super_resolution": Preset(
        description="faces of 12 pixels twice as large and sharper than bicubic; begins as bicubic enlargement",
        config={"generator_type": "super_resolver", "generator_options": {"scale": 2}},
        data={
            "source": "lfw",
            "image_size": 24,
            "batch_size": 4,
            "degradation": [{"kind": "shrink", "factor": 2}],
        },
        # Eighty faces make short epochs.
        recipe={"epochs": 60, "learning_rate": 1e-3},
        macs=43_750_080,
    ),
    "denoising": Preset(
        description="removes Gaussian noise of any sigma from 0.02 to 0.15",
        config={"generator_type": "restorer", "generator_options": {"filters": 48, "blocks": 8}},
        data={
            **_PAIRS,
            "degradation": [{"kind": "noise", "sigma": 0.02, "largest": 0.15}],
            "augmentation": "turns_and_colors",
        },
        recipe={"epochs": 2, "learning_rate": 1e-3},
        macs=197_074_944,
    ),
    "enhancement": Preset(
        description="brightens dark, color-cast, slightly noisy pictures",
        config={"generator_type": "restorer", "generator_options": {"blocks": 3, "curve": True}},
        data={**_PAIRS, "degradation": _LOW_LIGHT},
        recipe={"epochs": 2, "learning_rate": 2e-3},
        macs=39_875_328,
    ),
    "inpainting": Preset(
        description="fills holes (transparent pixels) of a quarter of the picture",
        config={"generator_type": "inpainter", "lambda_l2": 2.0},
        data={
            **_PAIRS,
            "image_size": 64,
            "batch_size": 16,
            "degradation": [{"kind": "hole", "area": 0.25}],
            "augmentation": "turns_and_colors",
        },
        # What fills a hole is uncertain, so gradients are noisy: small steps of larger batches gain 0.2 dB.
        recipe={"epochs": 10, "learning_rate": 5e-4},
        macs=47_087_616,
    ),
    "sketch_to_emoji": Preset(
        description="colors line drawings of 64 pixels as OpenMoji's are colored; takes a skin tone",
        config={"generator_type": "colorizer", "generator_options": {"channels": 5}, "lambda_gradient": 1.0},
        data={
            "source_a": "openmoji_lines",
            "source_b": "openmoji",
            "condition": "tone",
            "unknown": 0.2,
            "image_size": 64,
            "mode": "shift",
            "batch_size": 8,
        },
        recipe={"epochs": 60, "learning_rate": 1e-3},
        macs=121_688_064,
    ),
    "pix2pix_256": Preset(
        description="pix2pix as published: a U-Net with dropout, L1 and a conditional PatchGAN, 256 pixels; trains "
        "on pairs of yours, in two folders or side by side",
        config={
            "generator_type": "unet",
            "generator_options": {"downsamplings": 8, "norm": "batch_of_one", "dropout": 0.5},
            "discriminator_options": {"norm": "batch_of_one"},
            "lambda_l1": 100.0,
            "lambda_adversarial": 1.0,
        },
        data={"image_size": 256, "batch_size": 1},
        recipe={"epochs": 200, "learning_rate": 2e-4, "decay": "linear"},
        macs=6_048_186_368,
    ),
}
