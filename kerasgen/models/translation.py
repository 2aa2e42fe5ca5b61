"""Pictures of any size through a translation network, in no more memory than a few of its layers need."""

import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.typing import Tensor

_TRACED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def translate_images(generator: keras.Model, images: Tensor, batch_size: int = 8) -> np.ndarray:
    """Images in [-1, 1] through any generator of this zoo; see `CycleGAN.translate`."""
    images = np.asarray(images)
    single = images.ndim == 3
    images = images[None] if single else images
    channels = generator.input_shape[-1]
    if images.ndim != 4 or images.shape[-1] != channels or not np.issubdtype(images.dtype, np.floating):
        raise UserError(
            f"The images are {images.dtype} of the shape {images.shape[1:] if single else images.shape}, but float "
            f"[n, height, width, {channels}] in [-1, 1] is needed."
        )
    multiple, (height, width) = size_multiple(generator), images.shape[1:3]
    borders = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
    padded = np.pad(images.astype("float32"), borders, mode="symmetric")
    batches = (padded[i : i + batch_size] for i in range(0, len(padded), batch_size))
    translated = _traced(generator)
    outputs = [np.clip(translated(batch), -1.0, 1.0) for batch in batches]
    scale = outputs[0].shape[1] // padded.shape[1]  # a generator for super-resolution enlarges
    result = np.concatenate(outputs)[:, : scale * height, : scale * width].astype("float32")
    return result[0] if single else result


def size_multiple(generator: keras.Model) -> int:
    """Return what height and width must be divisible by: the product of the strides on the way down."""
    convolutions = [
        layer
        for layer in generator.layers
        if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.Conv2DTranspose)
    ]
    return int(np.prod([layer.strides[0] for layer in convolutions], dtype=int))


def _traced(generator: keras.Model) -> Callable[[Tensor], Tensor]:
    """Return the generator at inference as a graph, which gives memory back layer by layer.

    Keras' own call keeps what every layer gives until its end: gigabytes for a photograph.
    """
    if generator not in _TRACED:
        its = weakref.ref(generator)  # a graph that held its generator would keep it alive in here
        shape = tf.TensorSpec(generator.input_shape, tf.float32)
        _TRACED[generator] = tf.function(lambda batch: its()(batch, training=False), input_signature=[shape])
    return _TRACED[generator]
