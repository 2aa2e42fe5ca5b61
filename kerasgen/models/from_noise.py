"""What the models share that make pictures of latents z ~ N(0, I), alone or with labels."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.models.base import GenerativeModel
from kerasgen.models.batches import Share, unpacked
from kerasgen.models.checks import as_tensor, check_axes, check_labels, check_pictures, pictures_in
from kerasgen.models.declarations import LatentSampler, Moments
from kerasgen.models.first_stage import FirstStage, M
from kerasgen.training.schedules import Stage, staged
from kerasgen.typing import Batch, Config, Tensor

BATCH = 256  # examples that go through a network at once


class FromNoise(GenerativeModel):
    """A model that makes pictures of latents: a subclass writes `pictures_of`, and has the attributes below.

    Attributes:
        encodes: whether `encode` gives posteriors, to which a sampler of latents can be fitted.
        image_shape: (height, width, channels) of its pictures.
        latent_dim: size of z.
        num_classes, num_attributes: what it is conditional on; None for nothing.
    """

    generates = True
    seeded = True
    encodes: ClassVar[bool] = True

    image_shape: tuple[int, int, int]
    latent_dim: int
    num_classes: int | None
    num_attributes: int | None

    def pictures_of(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return images [batch, height, width, channels] in [0, 1] of {"z": [batch, latent_dim] (, "label")}."""
        raise NotImplementedError(f"{type(self).__name__} makes no pictures of latents.")

    def encode(self, images: Tensor, labels: Tensor = None) -> Moments:
        """Return the posterior of images [n, height, width, channels] in [0, 1]; labels for a conditional model."""
        raise UserError(f"A {type(self).__name__} encodes no pictures: give a model that does, such as a VAE.")

    def _held(self, given: keras.Model | str, wanted: type[M]) -> FirstStage[M]:
        """Return the first stage, as the configuration and files hold it from now on."""
        found = FirstStage(given, wanted)
        self._arguments["first_stage"] = found.recorded
        if found.model is found.recorded:
            self.autoencoder = found.model  # as an attribute, so that files and checkpoints hold it
        return found

    # -- inputs ---------------------------------------------------------------------------------------------

    def check_batch(self, data: Tensor) -> None:
        self._unpack(data)

    def _unpack(self, data: Tensor) -> tuple[dict[str, Tensor], Share]:
        x, y, share = unpacked(data)
        return self._inputs_of(x, y), share

    def _inputs_of(self, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        images = pictures_in(x, type(self).__name__)
        return self._inputs(images, x.get("label") if isinstance(x, dict) else y)

    def _inputs(self, images: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """Return the inputs of a network that sees pictures; labels become vectors."""
        images = as_tensor("images", images)
        needed = f"[batch, {', '.join(map(str, self.image_shape))}]"
        check_axes(images, needed)
        if not images.shape[1:].is_compatible_with(self.image_shape):
            raise UserError(
                f"The images have the shape {tuple(images.shape)}, but this model needs {needed}: resize them, or "
                "build the model for their size."
            )
        check_pictures(images, self.image_range)
        return {"image": tf.cast(images, tf.float32), **self._label_input(labels)}

    def _label_input(self, labels: Tensor) -> dict[str, Tensor]:
        if not self.conditional:
            return {}
        if labels is None:
            raise UserError(
                f"This model is conditional on {self._knows}, but no labels were given: "
                'pass them as data["label"] or labels=….'
            )
        labels = as_tensor("labels", labels)
        if self.label_size > 1 and self.num_classes and labels.shape.rank == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]  # as keras.datasets has classes
        check_labels(labels, self.label_size, classes=bool(self.num_classes))
        if labels.shape.rank == 1 and self.num_classes:
            return {"label": tf.one_hot(tf.cast(labels, tf.int32), self.num_classes)}
        return {"label": tf.cast(labels, tf.float32)}

    def predict_step(self, data: Tensor) -> Tensor:
        self.check_batch(data)  # refuses here what Keras would report from `call` with pages around it
        x, y, share = unpacked(data)
        pairs = self.conditional and y is not None and not isinstance(x, dict)
        made = self({"image": x, "label": y} if pairs else x, training=False)
        return keras.tree.map_structure(share.own, made)

    # -- pictures -------------------------------------------------------------------------------------------

    def decode(self, z: Tensor, labels: Tensor = None) -> np.ndarray:
        """Images [n, height, width, channels] in [0, 1] from latents [n, latent_dim]."""
        z = as_tensor("latents", z, tf.float32)
        if z.shape.rank != 2 or z.shape[1] != self.latent_dim:
            raise UserError(f"z has the shape {tuple(z.shape)}, but [n, {self.latent_dim}] is needed.")
        return in_batches(self.pictures_of, {"z": z, **self._label_input(labels)})

    def generate(
        self, n: int, labels: Tensor = None, seed: int | None = 0, sampler: LatentSampler | None = None
    ) -> np.ndarray:
        """Make new images [n, height, width, channels] in [0, 1].

        Args:
            n: how many.
            labels: for a conditional model; one class or one vector of attributes for all, or [n] of them. None takes
                the classes in turn; attributes, which come in combinations, must be given.
            seed: the same seed gives the same images; None gives others each time.
            sampler: any of `kerasgen.samplers`; None draws z from the prior N(0, I).
        """
        values.whole("n", n)
        if seed is not None:
            values.seed("seed", seed)
        values.room("n", n, 12 * n * math.prod(self.image_shape))
        if sampler is None:
            z = np.random.default_rng(seed).standard_normal((n, self.latent_dim), dtype=np.float32)
        else:
            z = sampler.sample(n, seed=seed).z
        return self.decode(z, self._labels_for(n, labels))

    def interpolate(
        self, start: Tensor, end: Tensor, steps: int = 8, labels: Tensor = None, spherical: bool = True
    ) -> np.ndarray:
        """Return a way from one picture to another through latent space.

        Args:
            start, end: images [height, width, channels] in [0, 1].
            steps: pictures on the way, the two ends (reconstructed) included.
            labels: the label of both, for a conditional model.
            spherical: along the great circle between the latents (White 2016, 1609.04468), else straight.

        Returns:
            Images [steps, height, width, channels] in [0, 1].

        Raises:
            UserError: the model encodes no pictures, they differ in shape, or their label is missing.
        """
        if self.conditional and labels is None:
            raise UserError(f"This model is conditional on {self._knows}: give the label of both pictures, labels=….")
        values.whole("steps", steps, least=2)
        start, end = np.asarray(start), np.asarray(end)
        if start.shape != end.shape:
            raise UserError(f"The ends have the shapes {start.shape} and {end.shape}: give two pictures of one size.")
        pair = np.stack([start, end])
        a, b = self.encode(pair, self._labels_for(2, labels)).mean
        t = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        z = _slerp(a, b, t) if spherical else (1 - t) * a + t * b
        return self.decode(z, self._labels_for(steps, labels))

    def _labels_for(self, n: int, labels: Tensor) -> np.ndarray | None:
        if not self.conditional:
            if labels is not None:
                raise UserError(
                    "labels were given, but this model is unconditional: leave them out, or train with num_classes."
                )
            return None
        if labels is None:
            return self._classes_in_turn(n)
        labels = np.asarray(labels)
        if labels.ndim == 0 or (labels.ndim == 1 and self.num_attributes):
            labels = np.repeat(labels[None], n, axis=0)
        if len(labels) != n:
            raise UserError(f"{len(labels)} labels were given for {n} images: give one, or one for each.")
        return labels

    def _classes_in_turn(self, n: int) -> np.ndarray:
        if self.num_attributes:
            raise UserError(
                f"This model is conditional on {self._knows}, which come in combinations: give labels, a vector of "
                f"{self.num_attributes} zeros and ones for all pictures or for each."
            )
        assert self.num_classes is not None  # an unconditional model takes no labels
        return np.arange(n) % self.num_classes

    def _labels_like(self, batch: Mapping[str, Tensor]) -> np.ndarray | None:
        """Return labels for the networks to export: the batch's own, else classes in turn or any attributes."""
        count, labels = len(batch["image"]), batch.get("label") if self.conditional else None
        if labels is None and self.num_attributes:  # any combinations do, to compare a network with itself
            labels = np.random.default_rng(0).integers(0, 2, (count, self.num_attributes))
        return self._labels_for(count, labels)

    # -- what it is conditional on --------------------------------------------------------------------------

    @property
    def conditional(self) -> bool:
        """Whether its networks take a label, a class or attributes."""
        return bool(self.label_size)

    @property
    def label_size(self) -> int:
        """The length of the vector that its networks take as a label; 0 for an unconditional model."""
        return self.num_classes or self.num_attributes or 0

    @property
    def _knows(self) -> str:
        return f"{self.num_classes} classes" if self.num_classes else f"{self.num_attributes} attributes"

    def _check_labels(self) -> None:
        """Raise `UserError` unless `num_classes` and `num_attributes` are whole numbers, and one of them at most."""
        for name, count in (("num_classes", self.num_classes), ("num_attributes", self.num_attributes)):
            if count is not None:
                values.whole(name, count)
        if self.num_classes and self.num_attributes:
            raise UserError(
                f"num_classes is {self.num_classes} and num_attributes is {self.num_attributes}: give one of them."
            )

    @property
    def previews_inputs(self) -> bool:
        return bool(self.num_attributes)

    @property
    def picture_shape(self) -> tuple[int | None, int | None, int]:
        return self.image_shape

    @classmethod
    def resized(cls, config: Mapping[str, Config], size: int) -> dict[str, Config]:
        return {**config, "image_shape": (size, size, config["image_shape"][2])}

    def compile_for_recipe(
        self, steps_per_epoch: int, epochs: int | Sequence[Stage], learning_rate: float = 1e-3
    ) -> None:
        """Adam, its learning rate following half a cosine to 0 over the whole training."""

        def half_a_cosine(steps: int) -> keras.optimizers.schedules.CosineDecay:
            return keras.optimizers.schedules.CosineDecay(learning_rate, max(1, steps))

        schedule = staged(half_a_cosine, steps_per_epoch, epochs)
        self.compile(optimizer=keras.optimizers.Adam(schedule))

    def _preview_inputs(self, inputs: Batch, n: int) -> tuple[Tensor, Tensor | None]:
        """Return n images of a batch, and their labels if the model takes some."""
        found, _ = self._unpack(inputs)
        labels = found.get("label")
        return found["image"][:n], None if labels is None else labels[:n]


def _slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    cosine = np.dot(a, b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.sin(angle) < 1e-4:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def in_batches(function: Callable[[dict[str, Tensor]], Tensor], inputs: dict[str, Tensor]) -> Tensor:
    """Return what a function of tensors by name gives, as NumPy arrays, computed for `BATCH` examples at a time."""
    count = len(next(iter(inputs.values())))
    if not count:
        raise UserError("No examples were given: give one at least.")
    parts = [function({name: value[i : i + BATCH] for name, value in inputs.items()}) for i in range(0, count, BATCH)]
    return tf.nest.map_structure(lambda *arrays: np.concatenate([a.numpy() for a in arrays]), *parts)
