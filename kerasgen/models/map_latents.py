"""What autoencoders share whose latents are maps: pictures of any size, there and back, and what that is worth."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses
from kerasgen.errors import UserError
from kerasgen.metrics.images import psnr, ssim
from kerasgen.models.base import GenerativeModel
from kerasgen.models.batches import Share, unpacked
from kerasgen.models.checks import as_tensor, check_axes, check_pictures, pictures_in
from kerasgen.models.memory import usable_memory
from kerasgen.models.strips import maps_by_strips
from kerasgen.models.translation import goes_whole, size_multiple, traced, whole_memory
from kerasgen.networks.macs import Cost, cost
from kerasgen.networks.strips import InMemory
from kerasgen.training.health import Answers
from kerasgen.typing import Batch, Tensor

BATCH = 32  # pictures that go through a network at once
_SSIM_WINDOW = 11
RECONSTRUCTIONS = {"l1": losses.absolute_error, "l2": losses.squared_error}


class MapAutoencoder(GenerativeModel):
    """An autoencoder of pictures in [0, 1] of any size: a subclass has the networks, and writes `decodable`.

    Attributes:
        encoder: from images [batch, height, width, channels].
        decoder: from latents [batch, h, w, latent_channels] to images.
    """

    seeded = True
    preview_file = "reconstructions.png"

    encoder: keras.Model
    decoder: keras.Model

    def decodable(self, encoded: Tensor | dict[str, Tensor]) -> Tensor:
        """Return the maps that the decoder takes of what the encoder gives, in a graph too."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what its decoder takes.")

    def way(self, images: Tensor) -> Tensor:
        """Return images [batch, height, width, channels] after the way there and back, of sides that divide."""
        made = traced(self.decoder)(self.decodable(traced(self.encoder)(images)))
        return tf.clip_by_value(made, 0.0, 1.0)

    # -- inputs ---------------------------------------------------------------------------------------------

    def check_batch(self, data: Tensor) -> None:
        self._unpack(data)

    def _unpack(self, data: Tensor) -> tuple[Tensor, Share]:
        x, _, share = unpacked(data)
        return self._images(pictures_in(x, type(self).__name__)), share

    def _images(self, images: Tensor) -> Tensor:
        """Return images as float32, whose sides divide."""
        images = self._any_size(images)
        multiple, (height, width) = self.image_multiple, images.shape[1:3]
        if (height or 0) % multiple or (width or 0) % multiple:
            raise UserError(
                f"The images are {height}×{width}, but this model makes one place of its latents of "
                f"{multiple}×{multiple} pixels: cut or resize them to sides divisible by {multiple}."
            )
        return images

    def _any_size(self, images: Tensor) -> Tensor:
        images = as_tensor("images", images)
        channels = self.picture_shape[2]
        check_axes(images, f"[batch, height, width, {channels}]")
        if images.shape[-1] != channels:
            raise UserError(
                f"The images have the shape {tuple(images.shape)}, but this model needs "
                f"[batch, height, width, {channels}]: load them with {channels} channels."
            )
        check_pictures(images, self.image_range)
        return tf.cast(images, tf.float32)

    def map_of(self, image_shape: tuple[int, int, int]) -> tuple[int, int]:
        """Return height and width of the map that it makes of pictures of a shape, for a model of its latents.

        Raises:
            UserError: the sides don't divide, or it takes other channels.
        """
        (height, width, channels), multiple, own = image_shape, self.image_multiple, self.picture_shape[2]
        if height % multiple or width % multiple or channels != own:
            raise UserError(
                f"image_shape is {image_shape}, but first_stage takes {own} channels, and sides divisible by "
                f"{multiple}: choose such."
            )
        return height // multiple, width // multiple

    # -- use ------------------------------------------------------------------------------------------------

    def predict_step(self, data: Tensor) -> Tensor:
        self.check_batch(data)  # refuses here what Keras would report from `call` with pages around it
        return super().predict_step(data)

    def call(self, inputs: Batch, training: bool = False) -> Tensor:
        """Reconstruct; `predict` therefore gives reconstructions."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(inputs)
        return self.way(self._images(pictures_in(x, type(self).__name__)))

    def reconstruct(self, images: Tensor, memory: int | None = None) -> np.ndarray:
        """Images [n, height, width, channels] in [0, 1] through the encoder and the decoder.

        Sides that don't divide are padded by mirroring, and cut again.

        Args:
            images: the images.
            memory: bytes that may be taken, as for `encode`.

        Raises:
            UserError: the images don't fit.
        """
        images = self._any_size(images)
        multiple, (height, width) = self.image_multiple, images.shape[1:3]
        margins = [[0, 0], [0, -height % multiple], [0, -width % multiple], [0, 0]]
        padded = np.pad(images, margins, mode="symmetric")
        encoded = keras.tree.pack_sequence_as(self.encoder.output, through(self.encoder, padded, memory))
        (made,) = through(self.decoder, by_rows(self.decodable, encoded), memory)
        return np.clip(made, 0.0, 1.0)[:, :height, :width]

    def preview(self, n: int = 8, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        if inputs is None:
            raise UserError("This model has pictures only of inputs: give ImageGrid a batch, inputs=….")
        images, _ = self._unpack(inputs)
        return {"original": images[:n].numpy(), "reconstruction": self.reconstruct(images[:n])}

    def answers(self, batch: Batch) -> Answers:
        images, _ = self._unpack(batch)
        shown = self.preview(n=len(images), inputs=batch)
        made, real = shown["reconstruction"], shown["original"]
        return Answers(shown, made, real, right=real, given=real, alike=True)

    def score(self, dataset: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """PSNR in dB and SSIM of a dataset's reconstructions, means over the pictures.

        Returns:
            {"pictures", "psnr", "ssim" (of pictures of at least 11 pixels a side), and what a model adds}.

        Raises:
            UserError: the dataset is empty.
        """
        rows: list[dict[str, np.ndarray]] = []
        for batch in dataset:
            images = np.asarray(pictures_in(batch, type(self).__name__))
            made = self.reconstruct(images)
            row = {"psnr": psnr(made, images), **self.measures(images)}
            if min(images.shape[1:3]) >= _SSIM_WINDOW:
                row["ssim"] = ssim(made, images)
            rows.append(row)
        if not rows:
            raise UserError("The dataset is empty: give at least one batch of pictures.")
        found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return {"pictures": float(len(found["psnr"])), **{name: float(v.mean()) for name, v in found.items()}}

    def measures(self, images: Tensor) -> dict[str, np.ndarray]:
        """Return what else a model measures of pictures, [n] by name."""
        return {}

    def fidelity(self, images: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Return PSNR and SSIM [batch] by name, as validation reports them."""
        made = tf.clip_by_value(made, 0.0, 1.0)
        # Of a picture that comes back exactly it would be infinite, and so would an epoch's mean.
        found = {"psnr": tf.minimum(tf.image.psnr(made, images, max_val=1.0), 100.0)}
        sides = images.shape[1:3]
        if None not in sides and min(sides) >= _SSIM_WINDOW:
            found["ssim"] = tf.image.ssim(made, images, max_val=1.0)
        return found

    # -- declarations ---------------------------------------------------------------------------------------

    @property
    def picture_shape(self) -> tuple[int | None, int | None, int]:
        return self.encoder.input_shape[1:]

    @property
    def image_multiple(self) -> int:
        return size_multiple(self.encoder)

    def costs(self, height: int | None = None, width: int | None = None) -> dict[str, Cost]:
        size = (height or 256, width or 256)
        factor, found = self.image_multiple, {}
        for name, exported in self.networks_to_export().items():
            sides = [side // factor for side in size] if name == "decoder" else size
            found[name] = replace(cost(exported.network, *sides), size=size)
        return found


def check_way(latents: keras.KerasTensor, encoder: keras.Model, decoder: keras.Model) -> None:
    """Raise `UserError` unless a decoder gives pictures as its encoder takes them.

    Args:
        latents: of the encoder's outputs, the one that the decoder takes.
        encoder, decoder: functional networks.
    """
    side, channels = 4 * size_multiple(encoder), encoder.input_shape[-1]
    made = keras.Model(encoder.input, decoder(latents)).compute_output_shape((1, side, side, channels))
    if tuple(made) != (1, side, side, channels):
        raise UserError(
            f"The decoder makes {tuple(made[1:])} of what the encoder makes of pictures {(side, side, channels)}: "
            "give a decoder that belongs to the encoder."
        )


def through(network: keras.Model, maps: np.ndarray, memory: int | None) -> list[np.ndarray]:
    """Return a network's outputs, in their order, for maps of sides that divide: whole, or one strip by strip.

    Args:
        network: functional, of one input; its outputs are maps.
        maps: [n, height, width, channels].
        memory: bytes that may be taken; None is half of what is free.

    Raises:
        UserError: the memory or the disk is too small.
    """
    memory = usable_memory(memory)
    height, width = maps.shape[1:3]
    if goes_whole(network, height, width, memory):
        return in_parts(traced(network), maps, int(memory // max(1.0, whole_memory(network, height, width))))
    found = [maps_by_strips(network, [InMemory(one)], memory) for one in maps]
    return [np.stack(outputs) for outputs in zip(*found, strict=True)]


def by_rows(function: Callable[[Tensor], Tensor], maps: np.ndarray | dict[str, np.ndarray]) -> np.ndarray:
    """Return what a function of each place of maps [n, h, w, …] gives, computed for `BATCH` rows at a time."""
    count, height = keras.tree.flatten(maps)[0].shape[:2]
    rows = keras.tree.map_structure(lambda array: array.reshape(count * height, 1, *array.shape[2:]), maps)
    (made,) = in_parts(function, rows)
    return made.reshape(count, height, *made.shape[2:])


def in_parts(
    function: Callable[[Tensor], Tensor], inputs: np.ndarray | dict[str, np.ndarray], most: int = BATCH
) -> list[np.ndarray]:
    """Return a function's outputs as NumPy arrays, computed for `BATCH` examples at a time, or for `most`."""
    size, count = max(1, min(BATCH, most)), len(keras.tree.flatten(inputs)[0])
    parts = []
    for i in range(0, count, size):
        part = keras.tree.map_structure(lambda array, i=i: tf.constant(array[i : i + size]), inputs)
        parts.append(keras.tree.flatten(function(part)))
    return [np.concatenate([np.asarray(array) for array in arrays]) for arrays in zip(*parts, strict=True)]
