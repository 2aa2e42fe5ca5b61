"""Pictures of any size through a translation network: at once where that fits in memory, else strip by strip."""

import contextlib
import os
import weakref
from collections.abc import Callable
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.keras_hooks import functional_nodes
from kerasgen.memory import free_memory
from kerasgen.models.checks import check_pictures
from kerasgen.models.memory import usable_memory
from kerasgen.models.strips import Clipped, Enlarged, run_plan
from kerasgen.networks.strips import (
    InMemory,
    Rows,
    Sink,
    UnknownLayer,
    make_graph,
    make_plan,
    memory_at_once,
    tensors_at_once,
)
from kerasgen.typing import Tensor

# What generators take and give.
_RANGE = (-1.0, 1.0)
_AXES = ("height", "width", "channels")
# Sides of pictures to try a network with: small ones could be padded more than they are large.
_LEAST_SIDE = 64
_MULTIPLES = sorted(2**i * odd for i in range(11) for odd in (1, 3, 5, 9, 15, 25, 27) if 2**i * odd <= 1024)
_TRACED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_TENSORS_PER_PIXEL: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_SIZE_MULTIPLE: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_PROBE = 256  # pixels of a size that every generator of this zoo can divide


def translate_images(
    generator: keras.Model, images: np.ndarray, batch_size: int = 8, memory: int | None = None
) -> np.ndarray:
    """Return images in [-1, 1] through any generator of this zoo; see `CycleGAN.translate`.

    Args:
        generator: of this zoo.
        images: [n, height, width, channels], or one [height, width, channels].
        batch_size: at most so many at once.
        memory: bytes that may be taken; None is half of what is free. Images for which they don't suffice go strip by
            strip: the same numbers.
    """
    try:
        images = np.asarray(images)
    except ValueError as error:
        raise UserError("The images have different sizes: give those of each size by themselves.") from error
    single = images.ndim == 3
    images = images[None] if single else images
    # A subclass may take anything.
    wanted = generator.input_shape if functional_nodes(generator) else (None,) * 4
    fits = images.ndim == 4 and all(w in (None, side) for w, side in zip(wanted[1:], images.shape[1:], strict=True))
    if not fits or not images.size:
        axes = ", ".join(str(size or name) for size, name in zip(wanted[1:], _AXES, strict=True))
        raise UserError(
            f"The images have the shape {images.shape[1:] if single else images.shape}, but this network needs "
            f"[n, {axes}]: give one at least, of that shape."
        )
    check_pictures(images, _RANGE)
    memory = usable_memory(memory)
    height, width = images.shape[1:3]
    needed = whole_memory(generator, height, width)
    if goes_whole(generator, height, width, memory):
        size = min(batch_size, max(1, int(memory // max(needed, 1))))
        full = padded_size(generator, height, width)
        result = np.concatenate([_whole(generator, images[i : i + size], *full) for i in range(0, len(images), size)])
    else:
        result = np.stack([_by_strips(generator, image, memory) for image in images])
    return result[0] if single else result


def goes_whole(generator: keras.Model, height: int, width: int, memory: int) -> bool:
    """Tell whether a picture goes through a generator at once, and not strip by strip.

    Raises:
        UnknownLayer: it doesn't fit in memory, and a layer can't be computed strip by strip.
    """
    needed = whole_memory(generator, height, width)
    if needed <= memory:
        return True
    try:
        make_graph(generator, [(*padded_size(generator, height, width), generator.input_shape[-1])])
    except UnknownLayer:
        if needed > free_memory():
            raise
        return True
    return False


def whole_memory(generator: keras.Model, height: int, width: int) -> float:
    """Return about the bytes that a picture at once takes; 0 for a model that isn't functional and doesn't tell."""
    if generator not in _TENSORS_PER_PIXEL:
        _TENSORS_PER_PIXEL[generator] = _tensors_of_probe(generator) / _PROBE**2
    return memory_at_once(_TENSORS_PER_PIXEL[generator] * height * width)


def _tensors_of_probe(generator: keras.Model) -> float:
    if not functional_nodes(generator):
        return 0.0
    try:
        shapes: list[tuple[int, ...]] = [(_PROBE, _PROBE, tensor.shape[-1]) for tensor in generator.inputs]
        return tensors_at_once(make_graph(generator, shapes))
    except UnknownLayer:
        return 5 * _largest_layer(generator)  # as most networks of this zoo


def _largest_layer(generator: keras.Model) -> float:
    nodes = functional_nodes(generator)
    every_layer = keras.Model(generator.inputs, [tensor for node in nodes for tensor in node.outputs])
    given = [(1, _PROBE, _PROBE, tensor.shape[-1]) for tensor in generator.inputs]
    shapes = every_layer.compute_output_shape(given if len(given) > 1 else given[0])
    return max(4.0 * np.prod(shape) for shape in shapes if None not in shape)


def size_multiple(generator: keras.Model) -> int:
    """Return what height and width must be divisible by, so that the network halves nothing with a remainder.

    Args:
        generator: a functional network or a sequence of layers; of any other nothing is known, and 1 is returned.
    """
    # Found by trying sizes, which takes half a second: as long as translating many pictures.
    if generator not in _SIZE_MULTIPLE:
        _SIZE_MULTIPLE[generator] = _found_size_multiple(generator)
    return _SIZE_MULTIPLE[generator]


def _found_size_multiple(generator: keras.Model) -> int:
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


def padded_size(generator: keras.Model, height: int, width: int) -> tuple[int, int]:
    """Return the next height and width that a generator can divide."""
    multiple = size_multiple(generator)
    return height + -height % multiple, width + -width % multiple


class TooSmall(UserError):
    """A picture has fewer pixels than a network mirrors at its edges."""


def _whole(generator: keras.Model, images: np.ndarray, full_height: int, full_width: int) -> np.ndarray:
    height, width = images.shape[1:3]
    borders = [(0, 0), (0, full_height - height), (0, full_width - width), (0, 0)]
    padded = np.pad(images.astype("float32"), borders, mode="symmetric")
    try:
        output = np.clip(traced(generator)(padded), *_RANGE)
    except tf.errors.InvalidArgumentError as error:  # nothing is mirrored over an edge that is as near as the other
        raise TooSmall(f"Images of {height}×{width} are too small for this network: give larger ones.") from error
    rows, columns = _belonging((height, width), (full_height, full_width), output.shape[1:3])
    return output[:, :rows, :columns].astype("float32")


def _belonging(sides: tuple[int, int], full: tuple[int, int], made: tuple[int, ...]) -> list[int]:
    """Return how much of what was made of a picture with further borders belongs to the picture itself.

    A generator for super-resolution enlarges, and others halve.

    Raises:
        UserError: nobody can tell.
    """
    if sides != full and any(out % size and size % out for out, size in zip(made, full, strict=True)):
        raise UserError(
            f"The network makes {made[0]}×{made[1]} pixels of {full[0]}×{full[1]}, of which nobody can tell what "
            f"belongs to {sides[0]}×{sides[1]}: give pictures of sides that it divides."
        )
    return [-(-side * out // size) for side, size, out in zip(sides, full, made, strict=True)]


def _by_strips(generator: keras.Model, image: np.ndarray, memory: int) -> np.ndarray:
    return large_picture(
        generator, InMemory(image), memory, lambda shape: InMemory(np.empty(shape, np.float32))
    ).array


S = TypeVar("S", bound=Sink)


def large_picture(
    generator: keras.Model,
    picture: Rows,
    memory: int,
    make_sink: Callable[[tuple[int, int, int]], S],
    folder: str | os.PathLike | None = None,
    unpacked: int = 0,
) -> S:
    """Put a picture through a generator strip by strip: the same numbers, in bounded memory.

    Args:
        generator: of this zoo.
        picture: in [-1, 1], by rows.
        memory: bytes that may be taken.
        make_sink: takes the shape of the result, and gives what takes its rows, in [-1, 1].
        folder: of temporary files; None is the system's.
        unpacked: bytes of `folder` that the picture itself takes once it is read.

    Returns:
        What `make_sink` gave, filled.

    Raises:
        UserError: a layer can't be computed strip by strip, or the memory or the disk is too small.
    """
    height, width, channels = picture.shape
    size = padded_size(generator, height, width)
    plan = make_plan(generator, [(*size, channels)], memory)
    _, *made, out_channels = plan.graph.values[plan.graph.outputs[0]].shape
    rows, columns = _belonging((height, width), size, tuple(made))
    shape = (rows, columns, out_channels)
    sink = make_sink(shape)
    run_plan(plan, [Enlarged(picture, *size)], [Clipped(sink, shape)], folder, unpacked)
    return sink


def traced(network: keras.Model) -> Callable[[Tensor | dict[str, Tensor]], Tensor]:
    """Return a network at inference as a graph, which gives memory back layer by layer.

    Keras' own call keeps what every layer gives until its end: gigabytes for a photograph.
    """
    if network not in _TRACED:
        # A graph that held its network would keep it alive in here.
        its: Callable[[], keras.Model] = weakref.ref(network)

        # A model that isn't functional may take anything, and some layers take no open sizes in a graph, such as
        # Keras' bilinear UpSampling2D: there a graph is made for each size.
        def call(batch: Tensor | dict[str, Tensor]) -> Tensor:
            return its()(batch, training=False)

        function = tf.function(call)
        if functional_nodes(network):
            given = keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype, t.name), network.input)
            alike = tf.function(call, input_signature=[given])
            with contextlib.suppress(tf.errors.OperatorNotAllowedInGraphError, TypeError, ValueError):
                alike.get_concrete_function()
                function = alike
        _TRACED[network] = function
    return _TRACED[network]
