"""Distillation: a small network learns to answer as a trained translator does, for phones and browsers."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses
from kerasgen.errors import UserError
from kerasgen.keras_hooks import copy_weights
from kerasgen.models.augmentation import augmented
from kerasgen.models.base import GenerativeModel
from kerasgen.models.batches import Share, unpacked
from kerasgen.models.checks import check_axes, check_pictures, named
from kerasgen.models.cyclegan import PRESETS as UNPAIRED
from kerasgen.models.declarations import ExportedNetwork, Loader, Reported, Teacher
from kerasgen.models.pair_tasks import TASKS, enlarged_input, likeness, psnr, untouched
from kerasgen.models.paired import PRESETS as PAIRED
from kerasgen.models.paired import PairedTranslator
from kerasgen.models.pretrained import trained
from kerasgen.models.translation import translate_images
from kerasgen.networks.patchgan import patchgan
from kerasgen.networks.restoration import FirstChannels
from kerasgen.presets import Preset
from kerasgen.training.health import Answers
from kerasgen.typing import Batch, Config, Tensor

_DIRECTIONS = ("a2b", "b2a")


@keras.saving.register_keras_serializable(package="kerasgen")
class Distiller(PairedTranslator, own_arguments=True):
    """A student, small or separable, that is trained on a teacher's answers: one is a pair for each picture.

    After GAN Compression (Li et al. 2020, 2003.08936): what the teacher learned from unpaired pictures becomes a
    task with pairs. Trains on dicts {"a": pictures in [-1, 1]}; validation reports PSNR in dB and SSIM of the clipped
    answers against the teacher's. "b" in validation data is what a should become: then it reports the PSNR of
    student and teacher against that, too. The teacher is copied, and its copy is never trained. Only the student is
    exported.

    Args:
        teacher: a network from pictures in [-1, 1] to pictures in [-1, 1]; see `GenerativeModel.teachers`. Or a
            preset with trained weights (a name, or a folder): then it is read when it is first asked, and not saved
            with the student.
        student: your own network instead of one of `generator_type`.
        generator_type, generator_options: of the student; see `PairedTranslator`.
        features: names of layers of both networks, whose outputs are compared through a 1×1 convolution, which is
            dropped after the training. They need the teacher's network, not its name.
        lambda_features: weight of their mean squared error, averaged over these layers.
        lambda_l1, lambda_l2, lambda_gradient: weights of the errors against the teacher's answer; see
            `PairedTranslator`.
        lambda_adversarial: weight of the adversarial loss, where the teacher's answers are the real pictures; 0
            trains no discriminator.
        adversarial_loss: "vanilla" or "lsgan".
        discriminator: one to begin with, such as the teacher's own, which is copied; None makes a new one.
        discriminator_options: of `patchgan`, for a new one.
        conditional: whether the discriminator sees the input before the picture.
        differentiable_augmentation: see `PairedTranslator`.
        seed: of the augmentation.
        task: what `score` compares with; see `PairedTranslator`.
        direction: "a2b" or "b2a", the teacher's: the student is used and exported under its name.

    Raises:
        UserError: an argument doesn't fit, or student and teacher don't take or give the same kind of pictures.

    Example:
        from kerasgen.networks import resnet_generator

        small = {"filters": 4, "blocks": 2, "separable": True}
        distiller = Distiller(resnet_generator(blocks=2), generator_type="resnet", generator_options=small)
    """

    # Its inputs made from clean pictures, pairs, or just the pictures that the teacher takes.
    loaders = (
        Loader("load_paired", needs=("degradation",)),
        Loader("load_pairs", ("source_a", "source_b")),
        Loader("load_inputs"),
    )
    reports = (
        Reported("loss", on_bar=True),
        Reported("l1_loss"),
        Reported("feature_loss"),
        Reported("adversarial_loss"),
        Reported("discriminator_loss"),
        Reported("psnr", "higher", validation_only=True, on_bar=True),
        Reported("ssim", "higher", validation_only=True),
        Reported("psnr_input", None, validation_only=True),
        Reported("psnr_truth", "higher", validation_only=True),
        Reported("psnr_teacher_truth", None, validation_only=True),
    )
    preview_file = "students.png"
    former_arguments: ClassVar = {}

    def __init__(
        self,
        teacher: keras.Model | str,
        student: keras.Model | None = None,
        *,
        generator_type: str = "restorer",
        generator_options: dict[str, Config] | None = None,
        features: Sequence[str] = (),
        lambda_features: float = 1.0,
        lambda_l1: float = 1.0,
        lambda_l2: float = 0.0,
        lambda_gradient: float = 0.0,
        lambda_adversarial: float = 0.0,
        adversarial_loss: str = "vanilla",
        discriminator: keras.Model | None = None,
        discriminator_options: dict[str, Config] | None = None,
        conditional: bool = True,
        differentiable_augmentation: Sequence[str] = (),
        seed: int = 0,
        task: str | None = None,
        direction: str = "a2b",
        **kwargs: Config,
    ):
        super().__init__(
            generator_type,
            generator_options=generator_options,
            discriminator_options=discriminator_options,
            lambda_l1=lambda_l1,
            lambda_l2=lambda_l2,
            lambda_gradient=lambda_gradient,
            lambda_adversarial=lambda_adversarial,
            adversarial_loss=adversarial_loss,
            differentiable_augmentation=differentiable_augmentation,
            seed=seed,
            task=task,
            generator_a2b=student,
            **kwargs,
        )
        self._check_choice("direction", _DIRECTIONS)
        self._check_not_negative("lambda_features")
        self.direction, self.features, self.lambda_features = direction, tuple(features), lambda_features
        self.conditional = conditional
        self.adapters = None
        self._asked = self._given(teacher)
        if self.features:
            self._check_features()
            self.adapters = self._new_adapters()

    def _given(self, teacher: keras.Model | str) -> Callable[[], keras.Model]:
        """Return what gives the teacher's network, which is frozen."""
        if isinstance(teacher, keras.Model):
            # A copy of the user's network: it belongs to the strategy that this is made under, and freezing it is
            # no business of theirs.
            self.teacher = self._frozen(_copied(teacher, "teacher"))
            return lambda: self.teacher
        if self.features:
            raise UserError(
                f"features are compared with the teacher's own, but of it only the name {teacher!r} is given: give "
                "its network, as `from_preset(…).teachers()` has it."
            )
        # What a closure holds is neither tracked nor saved: its weights stand in its own preset.
        return functools.cache(lambda: self._frozen(_taught_by(teacher, self.direction)))

    def _new_discriminator(self) -> keras.Model:
        given, conditional = self._arguments["discriminator"], self._arguments["conditional"]
        inside, outside = self.generator_a2b.input_shape[-1], self.generator_a2b.output_shape[-1]
        if given is None:
            return super()._new_discriminator() if conditional else patchgan(outside, **self.discriminator_options)
        wanted = outside + inside * conditional
        if given.input_shape[-1] != wanted:
            raise UserError(
                f"The discriminator takes {given.input_shape[-1]} channels, but it would be shown {wanted}: say by "
                "conditional whether it sees the input too, or leave the discriminator out."
            )
        return _copied(given, given.name)

    def _frozen(self, teacher: keras.Model) -> keras.Model:
        """Return the teacher, made unable to learn, after a look whether its pictures are the student's."""
        for what, ours, theirs in (
            ("take", self.generator_a2b.input_shape, teacher.input_shape),
            ("give", self.generator_a2b.output_shape, teacher.output_shape),
        ):
            if ours[-1] != theirs[-1]:
                raise UserError(
                    f"The student would {what} {ours[-1]} channels, but the teacher's pictures have {theirs[-1]}: "
                    "give both the same."
                )
        teacher.trainable = False
        return teacher

    def _check_features(self) -> None:
        for network, whose in ((self.generator_a2b, "student"), (self.teacher, "teacher")):
            known = [layer.name for layer in network.layers]
            for name in self.features:
                if name not in known:
                    raise UserError(
                        f"features has {name!r}, but the {whose} has no layer of that name: choose of those that "
                        f"both have, such as {', '.join(_common_layers(self.generator_a2b, self.teacher)[:8])}."
                    )

    def _new_adapters(self) -> keras.Model:
        """Return 1×1 convolutions from the student's features to the teacher's; they begin by passing them on."""
        inputs, outputs = [], []
        for name in self.features:
            ours, theirs = (n.get_layer(name).output.shape[-1] for n in (self.generator_a2b, self.teacher))
            inputs.append(keras.Input((None, None, ours), name=name))
            convolution = keras.layers.Conv2D(theirs, 1, kernel_initializer=FirstChannels(), name=f"{name}_adapter")
            outputs.append(convolution(inputs[-1]))
        return keras.Model(inputs, outputs, name="adapters")

    # -- training -------------------------------------------------------------------------------------------

    def make_train_function(self, force: bool = False) -> None:
        self._ask()
        super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> None:
        self._ask()
        super().make_test_function(force)

    def _ask(self) -> None:
        """See that the teacher is there: in the graph of a step no variables can be made."""
        with self.distribute_strategy.scope():
            self._asked()

    @property
    def generator_variables(self) -> list[keras.Variable]:
        """What the first optimizer updates: the student, and the adapters."""
        return super().generator_variables + (self.adapters.trainable_variables if self.adapters else [])

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        a, share, _ = self._inputs(data)
        answer, taught = self._taught(a)
        variables = self.generator_variables
        with tf.GradientTape() as tape:
            fake, seen = _with_features(self.generator_a2b, self.features)(a, training=True)
        judged = self._update_discriminator(a, answer, tf.stop_gradient(fake), share)
        with tape:  # again: what judges has learned from the picture
            values = self._student_losses(fake, seen, a, answer, taught, training=True)
            penalty = self.layer_losses(variables)
        self.update(tape, values["loss"], share, variables, self.optimizer, penalty)
        values["loss"] += penalty
        values |= judged
        self.track(values, share)
        return self.results(*values)

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        a, share, truth = self._inputs(data)
        answer, taught = self._taught(a)
        fake, seen = _with_features(self.generator_a2b, self.features)(a, training=False)
        values = self._student_losses(fake, seen, a, answer, taught, training=False)
        values["loss"] += self.layer_losses(self.generator_variables)
        values |= likeness(fake, a, tf.clip_by_value(answer, -1.0, 1.0))
        if truth is not None:
            values |= {"psnr_truth": psnr(fake, truth), "psnr_teacher_truth": psnr(answer, truth)}
        self.track(values, share)
        return self.results(*values)

    def _taught(self, a: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the teacher's answer, and its features."""
        answer, features = _with_features(self._asked(), self.features)(a, training=False)
        return tf.stop_gradient(answer), [tf.stop_gradient(of_layer) for of_layer in features]

    def _student_losses(
        self, fake: Tensor, seen: list[Tensor], a: Tensor, answer: Tensor, taught: list[Tensor], training: bool
    ) -> dict[str, Tensor]:
        """Losses [batch] by name, of which "loss" is the weighted sum; `seen` and `taught` are features."""
        _check_sizes("pictures", fake, answer)
        values = self._losses_of(fake, a, answer, training)
        if self.adapters is None:
            return values
        adapted = keras.tree.flatten(self.adapters(seen))  # a network of one output gives it alone
        errors = []
        for name, ours, theirs in zip(self.features, adapted, taught, strict=True):
            _check_sizes(f"features of {name!r}", ours, theirs)
            errors.append(losses.squared_error(theirs, ours))
        values["feature_loss"] = tf.add_n(errors) / len(errors)
        values["loss"] += self.lambda_features * values["feature_loss"]
        return values

    def _as_seen(self, images: Tensor, condition: Tensor, training: bool) -> Tensor:
        if self.conditional:
            return super()._as_seen(images, condition, training)
        if not (training and self.seed_generator):
            return images
        return augmented(images, self.differentiable_augmentation, self.seed_generator.next())

    def check_batch(self, data: Tensor) -> None:
        self._inputs(data)

    def _pair(self, data: Tensor) -> tuple[Tensor, Tensor, Share]:
        """Return pictures, and the teacher's answers clipped as people see them."""
        a, share, _ = self._inputs(data)
        return a, tf.clip_by_value(self._taught(a)[0], -1.0, 1.0), share

    def _inputs(self, data: Tensor) -> tuple[Tensor, Share, Tensor | None]:
        """Return pictures, and what they should become where that is known."""
        data, _, share = unpacked(data)
        made_by = "kerasgen.data.load_inputs, load_pairs or load_paired"
        data = named(data, ("a",), 'A Distiller trains on dicts {"a": images}', made_by)
        known = [name for name in ("a", "b") if name in data]
        for name in known:
            check_axes(data[name], what=f"images {name!r}")
        wanted = self.generator_a2b.input_shape[-1]
        if data["a"].shape[-1] != wanted:
            raise UserError(
                f'The images "a" have {data["a"].shape[-1]} channels, but the teacher takes {wanted}: load what it '
                "was trained on."
            )
        for name in known:
            check_pictures(data[name], self.image_range, f"images {name!r}")
        a, *truth = (tf.cast(data[name], tf.float32) for name in known)
        return a, share, truth[0] if truth else None

    # -- use ------------------------------------------------------------------------------------------------

    def teacher_answers(self, images: Tensor) -> np.ndarray:
        """Return what the teacher makes of images, as `translate` returns what the student does."""
        return translate_images(self._asked(), images)

    def score(self, dataset: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """Measure the student's answers against the teacher's, and both against the truth where it is known.

        Returns:
            "pictures"; "psnr" in dB and "l1" in [0, 1] to the teacher's answers, averaged over the pictures; where
            batches have "b", "psnr_truth" and "psnr_teacher_truth", as the task measures them, beside the numbers
            that `PairedTranslator.score` gives for the truth.

        Raises:
            UserError: the dataset is empty.
        """
        batches = [{name: np.asarray(value) for name, value in batch.items()} for batch in dataset]
        if not batches:
            raise UserError("The dataset is empty: give at least one batch.")
        decibels, absolute = [], []
        for batch in batches:
            ours, theirs = self.translate(batch["a"]), self.teacher_answers(batch["a"])
            decibels.append(psnr(ours, theirs).numpy())
            absolute.append(np.abs(ours - theirs).reshape(len(ours), -1).mean(-1) / 2)
        found = {"pictures": float(sum(map(len, decibels))), "psnr": float(np.concatenate(decibels).mean())}
        found["l1"] = float(np.concatenate(absolute).mean())
        if "b" not in batches[0]:
            return found
        student = TASKS[self.task].score(self.translate, batches)
        teacher = TASKS[self.task].score(self.teacher_answers, batches)
        found |= {"psnr_truth": student["psnr"], "psnr_teacher_truth": teacher["psnr"]}
        return found | {name: value for name, value in student.items() if name.startswith("psnr_")}

    def preview(self, n: int = 8, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        if not isinstance(inputs, Mapping):
            raise UserError("This model has pictures only of inputs: give ImageGrid a batch, inputs=….")
        a = np.asarray(inputs["a"][:n])
        taught = self.teacher_answers(a)
        pictures = {"input": enlarged_input(a, taught), "student": self.translate(a), "teacher": taught}
        return {title: np.clip(images * 0.5 + 0.5, 0.0, 1.0) for title, images in pictures.items()}

    def answers(self, batch: Batch) -> Answers:
        a, taught, _ = self._pair(batch)
        shown = self.preview(n=len(taught), inputs=batch)
        given = untouched(a, taught).numpy() * 0.5 + 0.5
        return Answers(shown, shown["student"], shown["teacher"], shown["teacher"], given)

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the student, by the name that its teacher has: images in [-1, 1] to images in [-1, 1]."""
        return {f"generator_{self.direction}": found for found in super().networks_to_export().values()}

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the pictures, or those of {"image"}; none if they have other channels."""
        return {f"generator_{self.direction}": images for images in super().example_inputs(batch).values()}

    def translators(self) -> dict[str, keras.Model]:
        return {self.direction: self.generator_a2b}

    def translators_at(self, size: int) -> dict[str, keras.Model]:
        (network,) = super().translators_at(size).values()
        return {self.direction: network}

    def teachers(self) -> dict[str, Teacher]:
        (found,) = super().teachers().values()
        return {self.direction: found}

    @classmethod
    def resized(cls, config: Mapping[str, Config], size: int) -> dict[str, Config]:
        """Return the arguments as they are: what sizes a student takes is its teacher's business."""
        return dict(config)


def _taught_by(preset: str, direction: str) -> keras.Model:
    """Return the network of a trained preset whose answers can be learned."""
    model = trained(preset)
    known = model.teachers() if isinstance(model, GenerativeModel) else {}
    if direction not in known:
        answers = f"answers in the directions {', '.join(known)}" if known else "translates nothing"
        raise UserError(f"The teacher {preset!r} {answers}, but {direction!r} was asked for: give another.")
    return known[direction].network


Tapped = Callable[..., tuple[Tensor, list[Tensor]]]


def _with_features(network: keras.Model, names: Sequence[str]) -> Tapped:
    """Return a network as a function that gives its output, and what the layers of these names give."""
    if not names:
        return lambda images, training: (network(images, training=training), [])
    tapped = keras.Model(network.input, [network.output, *(network.get_layer(name).output for name in names)])

    def call(images: Tensor, training: bool) -> tuple[Tensor, list[Tensor]]:
        output, *features = tapped(images, training=training)
        return output, features

    return call


def _copied(network: keras.Model, name: str) -> keras.Model:
    """Return a network of the same weights under another name, with variables of its own."""
    twin = type(network).from_config({**network.get_config(), "name": name})
    copy_weights(twin, network)
    return twin


def _common_layers(one: keras.Model, other: keras.Model) -> list[str]:
    known = {layer.name for layer in other.layers if len(layer.output.shape) == 4}
    return [layer.name for layer in one.layers if layer.name in known]


def _check_sizes(what: str, ours: Tensor, theirs: Tensor) -> None:
    if ours.shape[1:] != theirs.shape[1:]:
        raise UserError(
            f"The student's {what} are {tuple(ours.shape[1:])}, but the teacher's are {tuple(theirs.shape[1:])}: "
            "give the student the same scale and the same downsamplings."
        )


MODEL = Distiller
# Each names its teacher. `kerasgen distill` makes its recipe of any other teacher's.
PRESETS: dict[str, Preset] = {
    "sketch_to_emoji_mobile": Preset(
        description="sketch_to_emoji for phones: a tenth of the multiplications, learned from its answers",
        config={
            "teacher": "sketch_to_emoji",
            "generator_type": "colorizer",
            "generator_options": {"channels": 5, "filters": [16, 64, 80, 160, 256], "separable": True},
            "lambda_gradient": 1.0,
        },
        data={**PAIRED["sketch_to_emoji"].data, "image_size": 64},
        recipe={"epochs": 20, "learning_rate": 2e-3},
        macs=11_850_752,
    ),
    "cyclegan_lines_emoji_mobile": Preset(
        description="cyclegan_lines_emoji's way to colors for phones: a twelfth of the multiplications, learned from "
        "its answers",
        config={
            "teacher": "cyclegan_lines_emoji",
            "generator_type": "colorizer",
            "generator_options": {"filters": [12, 32, 48, 96, 160], "separable": True},
        },
        # The pairs are for the numbers: it learns from the teacher's answers alone.
        data={**UNPAIRED["cyclegan_lines_emoji"].data, "image_size": 64},
        recipe={"epochs": 20, "learning_rate": 2e-3},
        macs=3_547_776,
    ),
    "super_resolution_x2_mobile": Preset(
        description="super_resolution_x2 for phones: a twentieth of the multiplications, learned from its answers",
        config={
            "teacher": "super_resolution_x2",
            "generator_type": "super_resolver",
            "generator_options": {"scale": 2, "filters": 24, "blocks": 6, "separable": True},
        },
        data={**PAIRED["super_resolution_x2"].data, "image_size": 48},
        recipe={"epochs": 4, "learning_rate": 2e-3},
        macs=25_949_952,
    ),
    "denoising_mobile": Preset(
        description="denoising for phones: an eleventh of the multiplications, learned from its answers",
        config={
            "teacher": "denoising",
            "generator_type": "restorer",
            "generator_options": {"filters": 48, "blocks": 4, "separable": True},
        },
        data={**PAIRED["denoising"].data, "image_size": 48},
        recipe={"epochs": 4, "learning_rate": 2e-3},
        macs=18_579_456,
    ),
}
