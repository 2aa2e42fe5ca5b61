"""Pictures of any size through a translation network, in no more memory than a few of its layers need."""

import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.keras_hooks import functional_nodes
from kerasgen.models.checks import check_pictures
from kerasgen.typing import Tensor

# What generators take and give.
_RANGE = (-1.0, 1.0)
# Sides of pictures to try a network with: small ones could be padded more than they are large.
_LEAST_SIDE = 64
_MULTIPLES = sorted(2**i * odd for i in range(11) for odd in (1, 3, 5, 9, 15, 25, 27) if 2**i * odd <= 1024)
_TRACED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def translate_images(generator: keras.Model, images: np.ndarray, batch_size: int = 8) -> np.ndarray:
    """Return images in [-1, 1] through any generator of this zoo; see `CycleGAN.translate`."""
    images = np.asarray(images)
    single = images.ndim == 3
    images = images[None] if single else images
    channels = generator.input_shape[-1]
    if images.ndim != 4 or images.shape[-1] != channels:
        raise UserError(
            f"The images have the shape {images.shape[1:] if single else images.shape}, but this network needs "
            f"[n, height, width, {channels}]: load them with {channels} channels."
        )
    check_pictures(images, _RANGE)
    multiple, (height, width) = size_multiple(generator), images.shape[1:3]
    borders = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
    padded = np.pad(images.astype("float32"), borders, mode="symmetric")
    batches = (padded[i : i + batch_size] for i in range(0, len(padded), batch_size))
    translated = _traced(generator)
    outputs = [np.clip(translated(batch), *_RANGE) for batch in batches]
    scale = outputs[0].shape[1] // padded.shape[1]  # a generator for super-resolution enlarges
    result = np.concatenate(outputs)[:, : scale * height, : scale * width].astype("float32")
    return result[0] if single else result


def size_multiple(generator: keras.Model) -> int:
    """Return what height and width must be divisible by, so that the network halves nothing with a remainder.

    Args:
        generator: a functional network or a sequence of layers; of any other nothing is known, and 1 is returned.
    """
    nodes = functional_nodes(generator)
    if not nodes:
        return 1
    outputs = keras.Model(generator.input, [tensor for node in nodes for tensor in node.outputs])
    networks = [node for node in nodes if isinstance(node.operation, keras.Model)]
    inside = [keras.Model(generator.input, node.input_tensors[0]) for node in networks]
    parts = [(network, size_multiple(node.operation)) for network, node in zip(inside, networks, strict=True)]
    for multiple in _MULTIPLES:
        first = -(-_LEAST_SIDE // multiple)
        sides = [multiple * n for n in range(first, first + 4)]
        evenly = _grow_evenly([_sizes(outputs, side) for side in sides])
        if evenly and all(size % part == 0 for net, part in parts for side in sides for size in _sizes(net, side)):
            return multiple
    return 1


def _grow_evenly(sizes: list[list[int]]) -> bool:
    """Tell whether each size grows by the same amount from each picture to the next larger one."""
    return all(sizes) and not np.diff(sizes, n=2, axis=0).any()


def _sizes(network: keras.Model, side: int) -> list[int]:
    """Return the heights and widths of all outputs for a square picture; none if it doesn't go through."""
    inputs = keras.tree.map_structure(lambda tensor: (1, side, side, tensor.shape[-1]), network.input)
    sizes: list[int] = []
    try:
        shapes = network.compute_output_shape(inputs)
    except ValueError:
        return []
    keras.tree.map_shape_structure(lambda shape: sizes.extend(shape[1:3] if len(shape) == 4 else ()), shapes)
    return sizes


def _traced(generator: keras.Model) -> Callable[[Tensor], Tensor]:
    """Return the generator at inference as a graph, which gives memory back layer by layer.

    Keras' own call keeps what every layer gives until its end: gigabytes for a photograph.
    """
    if generator not in _TRACED:
        its = weakref.ref(generator)  # a graph that held its generator would keep it alive in here
        shape = tf.TensorSpec(generator.input_shape, tf.float32)
        _TRACED[generator] = tf.function(lambda batch: its()(batch, training=False), input_signature=[shape])
    return _TRACED[generator]
