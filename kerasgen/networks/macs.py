"""How much a network computes: multiply-accumulates, the number by which small generators are compared.

Projects differ by a sixth for one network: a transposed convolution is counted here at its input's resolution, where
its multiplications really are, and not at its output's (`kerasgen.presets.CONVENTION`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers

from kerasgen.keras_hooks import functional_nodes
from kerasgen.presets import worded

Shape = tuple[int, ...]


def macs(network: keras.Model, height: int = 256, width: int = 256) -> int:
    """Return the multiply-accumulates of one example through a functional network, as `CONVENTION` says.

    Args:
        network: a functional model or a sequence of layers; those in it are counted too.
        height: of pictures whose size the network leaves open, in pixels.
        width: the same.

    Example:
        from kerasgen.networks import resnet_generator

        macs(resnet_generator(), 256, 256)  # 49,551,507,456
    """
    sides = (height, width)
    shapes = [
        (1, *(sides[axis] if size is None and axis < 2 else size for axis, size in enumerate(tensor.shape[1:])))
        for tensor in network.inputs
    ]
    return _macs(network, shapes)


@dataclass(frozen=True)
class Cost:
    """What one example costs in a network.

    Attributes:
        weights: numbers in all weights.
        macs: multiply-accumulates.
        size: height and width of the pictures that they were counted for, or None for a network that takes one size.
    """

    weights: int
    macs: int
    size: tuple[int, int] | None

    def __str__(self) -> str:
        at = f" at {self.size[0]}×{self.size[1]}" if self.size else ""
        return f"{self.weights:,} weights, {worded(self.macs)}{at}"


def cost(network: keras.Model, height: int = 256, width: int = 256) -> Cost:
    """Return what one example of that size costs; see `macs`."""
    is_open = any(None in tensor.shape[1:] for tensor in network.inputs)
    return Cost(network.count_params(), macs(network, height, width), (height, width) if is_open else None)


def _macs(network: keras.Model, shapes: list[Shape]) -> int:
    nodes = [node for node in functional_nodes(network) if not node.is_input]
    tensors = [tensor for node in nodes for tensor in node.outputs]
    if not tensors:
        return 0
    inside = keras.Model(network.inputs, tensors)
    found = inside.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])
    known = {id(t): shape for t, shape in zip([*network.inputs, *tensors], [*shapes, *found], strict=True)}
    total = 0
    for node in nodes:
        entering = [known[id(tensor)] for tensor in node.input_tensors]
        if isinstance(node.operation, keras.Model):
            total += _macs(node.operation, entering)
        elif type(node.operation) in _COUNTED:
            total += _COUNTED[type(node.operation)](node.operation, entering[0], known[id(node.outputs[0])])
    return total


def _convolution(layer: layers.Conv2D, _: Shape, given: Shape) -> int:
    return math.prod(given) * math.prod(layer.kernel.shape[:-1])


def _depthwise(layer: layers.DepthwiseConv2D, _: Shape, given: Shape) -> int:
    return math.prod(given) * math.prod(layer.kernel_size)


def _separable(layer: layers.SeparableConv2D, taken: Shape, given: Shape) -> int:
    between = math.prod(given[:-1]) * taken[-1] * layer.depth_multiplier
    return between * (math.prod(layer.kernel_size) + given[-1])


def _transposed(layer: layers.Conv2DTranspose, taken: Shape, _: Shape) -> int:
    return math.prod(taken[:-1]) * math.prod(layer.kernel.shape)


def _dense(_: layers.Dense, taken: Shape, given: Shape) -> int:
    return math.prod(given) * taken[-1]


_COUNTED: dict[type, Callable[..., int]] = {
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.DepthwiseConv2D: _depthwise,
    layers.SeparableConv2D: _separable,
    layers.Conv2DTranspose: _transposed,
    layers.Dense: _dense,
}
