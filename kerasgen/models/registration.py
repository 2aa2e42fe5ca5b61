"""Registration: bring one picture into the place of another, without ever being shown how."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses, values
from kerasgen.errors import UserError
from kerasgen.models.base import GenerativeModel
from kerasgen.models.batches import Share, unpacked
from kerasgen.models.checks import check_axes, check_pictures, check_sides, named
from kerasgen.models.declarations import ExportedNetwork, Loader, Reported
from kerasgen.models.memory import usable_memory
from kerasgen.models.strips import Enlarged, maps_by_strips
from kerasgen.models.translation import traced, whole_memory
from kerasgen.networks.registration import registration_network
from kerasgen.networks.strips import InMemory
from kerasgen.presets import Preset
from kerasgen.training.health import Answers, Comparable, Sign, Yardstick
from kerasgen.training.schedules import Stage, staged, warmed_up_cosine
from kerasgen.typing import Batch, Config, Tensor

_WINDOW = 9


@keras.saving.register_keras_serializable(package="kerasgen")
class Registration(GenerativeModel):
    """A network that aligns two pictures, trained by their similarity after the warp and the flow's smoothness.

    After VoxelMorph (Balakrishnan et al. 2019, 1809.05231). Trains on dicts {"moving", "fixed": [batch, height,
    width, channels] in [-1, 1]}, as `kerasgen.data.load_registration` makes them. Where the true "flow" is given,
    validation reports `epe`, the mean distance in pixels to it (the endpoint error), and `epe_identity`, that of no
    displacement at all. `negative_jacobian` is the share of pixels where the flow folds over.

    Args:
        channels: of both pictures.
        similarity: "mse", for pictures of the same light, or "ncc", the squared local normalized cross-correlation
            in 9×9 pixels, for any light and contrast.
        smoothness: weight of the flow's mean squared slope.
        filters: of `registration_network`.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        model = Registration(3, filters=(8, 8))
        aligned, flow = model.align(np.zeros((32, 32, 3)), np.zeros((32, 32, 3)))
    """

    loaders = (Loader("load_registration"),)
    reports = (
        Reported("loss", on_bar=True),
        Reported("similarity_loss"),
        Reported("smoothness_loss"),
        Reported("epe", validation_only=True, on_bar=True),
        Reported("epe_identity", None, validation_only=True),
        Reported("negative_jacobian", validation_only=True),
    )
    preview_file = "warps.png"
    image_range = (-1.0, 1.0)

    def __init__(
        self,
        channels: int = 3,
        *,
        similarity: str = "mse",
        smoothness: float = 0.005,
        filters: tuple[int, ...] = (32, 48, 64, 64),
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        self._check_choice("similarity", ("mse", "ncc"))
        self._check_not_negative("smoothness")
        self.channels, self.similarity, self.smoothness = channels, similarity, smoothness
        self.filters = values.widths("filters", filters)
        self.network = registration_network(channels, filters=self.filters)
        self.built = True

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        pair, share = self._pair(data)
        with tf.GradientTape() as tape:
            values, _ = self.pair_losses(pair, training=True)
            penalty = self.layer_losses(self.trainable_variables)
        self.update(tape, values["loss"], share, self.trainable_variables, self.optimizer, penalty)
        values["loss"] += penalty
        self.track(values, share)
        return self.results(*values)

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        pair, share = self._pair(data)
        values, flow = self.pair_losses(pair)
        values["loss"] += self.layer_losses(self.trainable_variables)
        values["negative_jacobian"] = _negative_jacobian(flow)
        if "flow" in pair:
            values["epe"] = _endpoint_error(flow, pair["flow"])
            values["epe_identity"] = _endpoint_error(tf.zeros_like(flow), pair["flow"])
        self.track(values, share)
        return self.results(*values)

    def pair_losses(self, pair: dict[str, Tensor], training: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        """Losses [batch] by name, of which "loss" is the weighted sum, and the flow."""
        out = self.network({"moving": pair["moving"], "fixed": pair["fixed"]}, training=training)
        measure = losses.squared_error if self.similarity == "mse" else local_ncc_loss
        similarity, smoothness = measure(out["warped"], pair["fixed"]), _slope(out["flow"])
        total = similarity + self.smoothness * smoothness
        return {"loss": total, "similarity_loss": similarity, "smoothness_loss": smoothness}, out["flow"]

    def check_batch(self, data: Tensor) -> None:
        self._pair(data)

    def _pair(self, data: Tensor) -> tuple[dict[str, Tensor], Share]:
        data, _, share = unpacked(data)
        data = named(
            data,
            ("moving", "fixed"),
            'Registration takes dicts {"moving": images, "fixed": images}',
            "kerasgen.data.load_registration",
        )
        for name in ("moving", "fixed"):
            check_axes(data[name], what=f"{name} pictures")
            check_sides(data[name], self.image_multiple, f"{name} pictures")
            check_pictures(data[name], self.image_range, f"{name} pictures")
        return {name: tf.cast(value, tf.float32) for name, value in data.items()}, share

    def predict_step(self, data: Tensor) -> dict[str, Tensor]:
        self.check_batch(data)
        return super().predict_step(data)

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Align {"moving", "fixed"}: give {"warped", "flow"}, as the network gives them."""
        return self.network({name: inputs[name] for name in ("moving", "fixed")}, training=training)

    def align(self, moving: Tensor, fixed: Tensor, memory: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Bring `moving` into the place of `fixed`.

        Args:
            moving, fixed: [n, height, width, channels], or one [height, width, channels] each, in [-1, 1].
            memory: bytes that may be taken; None is half of what is free. Pictures for which they don't suffice go
                strip by strip: the same numbers.

        Returns:
            The warped picture, of the same shape, and the flow [(n,) height, width, 2] in pixels, rows first: warped
            at x is moving at x + flow(x).

        Raises:
            UserError: the pictures don't fit together, or the model.
        """
        moving, fixed = np.asarray(moving), np.asarray(fixed)
        if moving.shape != fixed.shape or moving.ndim not in (3, 4) or moving.shape[-1] != self.channels:
            raise UserError(
                f"moving has the shape {moving.shape} and fixed {fixed.shape}, but both must be the same, "
                f"[n, height, width, {self.channels}]: cut or resize them."
            )
        for name, pictures in (("moving", moving), ("fixed", fixed)):
            check_pictures(pictures, self.image_range, f"{name} pictures")
        single = moving.ndim == 3
        pair = [picture[None] if single else picture for picture in (moving, fixed)]
        memory = usable_memory(memory)
        if whole_memory(self.network, *pair[0].shape[1:3]) * len(pair[0]) <= memory:
            warped, flow = self._align_whole(*pair)
        else:
            by_pair = [self._align_by_strips(a, b, memory) for a, b in zip(*pair, strict=True)]
            warped, flow = (np.stack(parts) for parts in zip(*by_pair, strict=True))
        return (warped[0], flow[0]) if single else (warped, flow)

    def _align_whole(self, moving: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = moving.shape[1:3]
        multiple = self.image_multiple
        margins = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
        moving, fixed = (np.pad(picture.astype("float32"), margins, mode="edge") for picture in (moving, fixed))
        out = traced(self.network)({"moving": moving, "fixed": fixed})
        return tuple(out[name].numpy()[:, :height, :width] for name in ("warped", "flow"))

    def _align_by_strips(self, moving: np.ndarray, fixed: np.ndarray, memory: int) -> list[np.ndarray]:
        multiple, (height, width) = self.image_multiple, moving.shape[:2]
        size = height + -height % multiple, width + -width % multiple
        given, names = {"moving": moving, "fixed": fixed}, [tensor.name for tensor in self.network.inputs]
        inputs = [Enlarged(InMemory(given[name]), *size, mode="edge") for name in names]
        # In the order of Keras' own: by name.
        flow, warped = maps_by_strips(self.network, inputs, memory)
        return [result[:height, :width] for result in (warped, flow)]

    def score(self, dataset: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """Endpoint error in pixels on pairs whose flow is known, beside the identity warp's.

        Returns:
            {"pairs", "epe", "epe_identity", "epe_ratio" (of the two), "negative_jacobian" (a share)}.
        """
        errors, yardsticks, folds = [], [], []
        for batch in dataset:
            _, flow = self.align(batch["moving"], batch["fixed"])
            truth = np.asarray(batch["flow"])
            errors.append(np.linalg.norm(flow - truth, axis=-1).mean((1, 2)))
            yardsticks.append(np.linalg.norm(truth, axis=-1).mean((1, 2)))
            folds.append(_negative_jacobian(tf.constant(flow)).numpy())
        if not errors:
            raise UserError("The dataset is empty: give at least one batch of pairs.")
        own, identity, folded = (np.concatenate(parts) for parts in (errors, yardsticks, folds))
        return {
            "pairs": float(len(own)),
            "epe": float(own.mean()),
            "epe_identity": float(identity.mean()),
            "epe_ratio": float(own.mean() / identity.mean()),
            "negative_jacobian": float(folded.mean()),
        }

    def preview(self, n: int = 8, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        if not isinstance(inputs, Mapping):
            raise UserError("Registration has pictures only of inputs: give ImageGrid a batch, inputs=….")
        moving, fixed = (np.asarray(inputs[name][:n]) for name in ("moving", "fixed"))
        warped, _ = self.align(moving, fixed)
        pictures = {"moving": moving, "warp": warped, "fixed": fixed}
        shown = {title: np.clip(images * 0.5 + 0.5, 0.0, 1.0) for title, images in pictures.items()}
        differences = {"difference before": np.abs(moving - fixed), "difference after": np.abs(warped - fixed)}
        return shown | {title: np.clip(images, 0.0, 1.0) for title, images in differences.items()}

    @property
    def signs(self) -> tuple[Sign, ...]:
        return (Comparable("similarity_loss"), Yardstick("epe", "epe_identity", -1, 0.02, "pixels"))

    def answers(self, batch: Batch) -> Answers:
        pair, _ = self._pair(batch)
        shown = self.preview(n=len(pair["fixed"]), inputs=batch)
        return Answers(shown, shown["warp"], shown["fixed"], shown["fixed"], shown["moving"], alike=True)

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the network: moving and fixed to warped and flow."""
        return {"registration": ExportedNetwork(self.network, not_pictures=("flow",))}

    @property
    def picture_shape(self) -> tuple[int | None, int | None, int]:
        return (None, None, self.channels)

    @property
    def image_multiple(self) -> int:
        """What height and width must be divisible by."""
        return 2 ** len(self.filters)

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the pair itself."""
        pair = {name: np.asarray(batch[name]) for name in ("moving", "fixed") if name in batch}
        return {"registration": pair} if len(pair) == 2 else {}

    def compile_for_recipe(
        self, steps_per_epoch: int, epochs: int | Sequence[Stage], learning_rate: float = 2e-3, warmup_steps: int = 50
    ) -> None:
        """Adam with gradients clipped to norm 1, its learning rate warmed up and then half a cosine to 0."""
        schedule = staged(partial(warmed_up_cosine, learning_rate, warmup_steps), steps_per_epoch, epochs)
        self.compile(optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0))


def local_ncc_loss(images: Tensor, others: Tensor, window: int = _WINDOW) -> Tensor:
    """1 - the squared normalized cross-correlation in windows, averaged: 0 if equal but for light and contrast.

    Args:
        images, others: [batch, height, width, channels].
        window: pixels of its side.

    Returns:
        float32 [batch].
    """

    def mean(values: Tensor) -> Tensor:
        # First down, then across: the same means for a fifth of the work.
        return tf.nn.avg_pool2d(tf.nn.avg_pool2d(values, (window, 1), 1, "SAME"), (1, window), 1, "SAME")

    centered = [mean(a * b) - mean(a) * mean(b) for a, b in ((images, others), (images, images), (others, others))]
    # Places flatter than rounding to 256 levels have no pattern to compare: the constant lets them count little.
    products = tf.maximum(centered[1], 0.0) * tf.maximum(centered[2], 0.0)
    ratio = (tf.square(centered[0]) + 1e-9) / (products + 1e-9)
    return 1.0 - tf.reduce_mean(ratio, axis=[1, 2, 3])


def _slope(flow: Tensor) -> Tensor:
    """Mean squared difference of neighboring displacements: [batch]."""
    down, right = flow[:, 1:] - flow[:, :-1], flow[:, :, 1:] - flow[:, :, :-1]
    return tf.reduce_mean(tf.square(down), [1, 2, 3]) + tf.reduce_mean(tf.square(right), [1, 2, 3])


def _endpoint_error(flow: Tensor, truth: Tensor) -> Tensor:
    return tf.reduce_mean(tf.norm(flow - truth, axis=-1), axis=[1, 2])


def _negative_jacobian(flow: Tensor) -> Tensor:
    """Share of pixels at which x + flow(x) turns over: [batch]."""
    down = (flow[:, 1:] - flow[:, :-1])[:, :, :-1]
    right = (flow[:, :, 1:] - flow[:, :, :-1])[:, :-1]
    determinant = (1.0 + down[..., 0]) * (1.0 + right[..., 1]) - down[..., 1] * right[..., 0]
    return tf.reduce_mean(tf.cast(determinant <= 0, tf.float32), axis=[1, 2])


MODEL = Registration
PRESETS = {
    "registration": Preset(
        description="aligns two pictures of the same light under smooth warps of 4 pixels",
        config={"similarity": "mse", "smoothness": 0.005},
        data={"source": "pictures", "image_size": 64, "batch_size": 8},
        recipe={"epochs": 3, "learning_rate": 2e-3},
        macs=31_859_712,
    ),
    "registration_ncc": Preset(
        description="aligns two pictures of any light and contrast under smooth warps of 4 pixels",
        config={"similarity": "ncc", "smoothness": 0.1},
        data={"source": "pictures", "image_size": 64, "batch_size": 8},
        recipe={"epochs": 1, "learning_rate": 2e-3},
        macs=31_859_712,
    ),
}
