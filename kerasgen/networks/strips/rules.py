"""How each kind of layer and operation goes over strips: its window, or what it gathers of a whole map."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kerasgen.errors import UserError, a_kind
from kerasgen.networks.registration import warp
from kerasgen.networks.strips.statistics import Gathered, Largest, Sum
from kerasgen.networks.strips.windows import Call, Cropped, Enlarged, Padded, Sliding, Transposed, Window
from kerasgen.typing import Tensor


class NoPlan(UserError):
    """A picture can't go through a network strip by strip; the sentence says why."""


class UnknownLayer(NoPlan):
    """A layer can't be computed strip by strip; the sentence names it."""


def not_by_strips(what: str) -> UnknownLayer:
    """Return the error of what can't be computed strip by strip."""
    return UnknownLayer(
        f"{what}, which can't be computed strip by strip: shrink the picture, or take a machine with more memory."
    )


class Rule(NamedTuple):
    """How an operation goes over strips.

    Attributes:
        window: the rows that it needs; None for what needs the whole map.
        call: what runs on a strip in place of the operation itself.
        multiplications: for each value that it makes of one picture.
        scratch: bytes that its kernel takes for each row of its input, besides its output.
        temporaries: what it takes besides inputs and output at its peak, in sizes of its output. A convolution takes
            one, its output before the bias is added.
    """

    window: Window | None = Window()
    call: Call | None = None
    multiplications: float = 0.0
    scratch: int = 0
    temporaries: float = 1.0


class Reduction(NamedTuple):
    """What an operation gathers of a map, and how its output looks."""

    gather: Callable[[], Gathered]
    shape: tuple[int, ...]


class Norm(NamedTuple):
    """A normalization by moments of the whole map: they are gathered, and `apply` takes [the map, the moments]."""

    apply: Call


# Of these, an output pixel needs the same pixel of the inputs alone.
_LAYERS = """
    Activation ActivityRegularization Add Average Dense Dropout ELU GaussianDropout GaussianNoise Identity LeakyReLU
    Maximum Minimum Multiply ReLU Rescaling RootAndSquare SpatialDropout2D Subtract
"""
_OPERATIONS = """
    Absolute Cast Ceil Clip Cos Divide Elu Equal Exp Floor Gelu Greater GreaterEqual HardSigmoid LeakyRelu Less
    LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr Negative NotEqual OnesLike Power Relu Relu6 Round Rsqrt Selu
    Sigmoid Sign Silu Sin Softplus Softsign Sqrt Square Tanh TrueDivide Where ZerosLike
"""
POINTWISE = frozenset((_LAYERS + _OPERATIONS).split())
# Over channels they are pointwise too.
OVER_CHANNELS = frozenset({"Concatenate", "Softmax", "LayerNormalization", "BatchNormalization"})
# These make small tensors of small ones (a latent, a statistic), or of a map that is taken whole.
WHOLE = frozenset({"Flatten", "Reshape"})
_SPATIAL = (1, 2)


def rule_of(
    operation: keras.Operation, name: str, specs: list[keras.KerasTensor], args: tuple[object, ...]
) -> Rule | Reduction | Norm:
    """Return how an operation goes over strips of its inputs.

    Args:
        operation: a layer, or an operation of keras.ops.
        name: of its class.
        specs: the shapes of those inputs that are maps, [1, height, width, channels] of the whole.
        args: its arguments.

    Raises:
        UnknownLayer: it isn't in the table, or not in this form.
    """
    if getattr(operation, "data_format", None) == "channels_first":
        raise _unknown(operation, "is channels_first")
    known = name in POINTWISE or name in WHOLE or name in HANDLERS or name == "GetItem"
    if not known:
        raise _unknown(operation, f"is {a_kind(operation)}")
    if not specs:
        return Rule(window=None)
    if name == "GetItem":
        return _slicing(args[1], operation, specs[0])
    if name in POINTWISE:
        kernel = getattr(operation, "kernel", None) if name == "Dense" else None
        # Of what an activation can be, GELU takes most.
        return Rule(
            multiplications=0.0 if kernel is None else kernel.shape[0],
            temporaries=2.0 if name in ("Activation", "Gelu") else 1.0,
        )
    if name in WHOLE:
        return Rule(window=None)
    return HANDLERS[name](operation, specs)


def _unknown(operation: keras.Operation, what: str) -> UnknownLayer:
    return not_by_strips(f"The layer {operation.name!r} {what}")


def _axes(operation: keras.Operation, rank: int) -> tuple[int, ...]:
    axis = operation.axis
    given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    return tuple(sorted(a % rank for a in given))


def _over_channels(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    rank = len(specs[0].shape)
    if _axes(operation, rank) != (rank - 1,):
        raise _unknown(operation, f"works along the axis {operation.axis}")
    return Rule(temporaries=3.0 if type(operation).__name__ == "LayerNormalization" else 1.0)


def _prelu(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    if not set(_SPATIAL) <= set(operation.shared_axes or ()):
        raise _unknown(operation, "has a slope for each pixel")
    return Rule(temporaries=2.0)


def _convolution(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    kernel = (operation.kernel_size[0] - 1) * operation.dilation_rate[0] + 1
    inputs = math.prod(operation.kernel.shape[:3])
    return Rule(_sliding(operation, kernel, operation.strides), multiplications=inputs)


def _depthwise(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    kernel = (operation.kernel_size[0] - 1) * operation.dilation_rate[0] + 1
    return Rule(_sliding(operation, kernel, operation.strides), multiplications=math.prod(operation.kernel_size))


def _sliding(operation: keras.Operation, kernel: int, strides: int | tuple[int, ...]) -> Sliding:
    if operation.padding not in ("same", "valid"):
        raise _unknown(operation, f"has the padding {operation.padding!r}")
    return Sliding(kernel, strides if isinstance(strides, int) else strides[0], operation.padding == "same")


def _pooling(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    size = operation.pool_size
    kernel = size if isinstance(size, int) else size[0]
    return Rule(_sliding(operation, kernel, operation.strides or kernel))


def _transposed(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    if operation.output_padding is not None or tuple(operation.dilation_rate) != (1, 1):
        raise _unknown(operation, "has an output padding or a dilation")
    height, width, outputs, inputs = operation.kernel.shape
    window = Transposed(height, operation.strides[0], operation.padding == "same")
    # TensorFlow's kernel writes each input pixel's whole square of output pixels before it adds them up.
    scratch = 4 * specs[0].shape[2] * height * width * outputs
    return Rule(window, multiplications=height * width * inputs / math.prod(operation.strides), scratch=scratch)


def _enlargement(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    around = {"nearest": 0, "bilinear": 1, "bicubic": 3, "lanczos3": 4, "lanczos5": 6}[operation.interpolation]
    return Rule(Enlarged(operation.size[0], around))


def _repeat(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    if not isinstance(operation.repeats, int) or operation.axis not in (1, 2, 3, -1, -2, -3):
        raise _unknown(operation, "repeats unevenly")
    return Rule(Enlarged(operation.repeats, 0) if operation.axis % 4 == 1 else Window())


def _padding(margins: tuple[tuple[int, int], ...], mode: str) -> Rule:
    (top, _), (left, right) = margins
    return Rule(Padded(top, left, right, mode))


def _zero_padding(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    return _padding(operation.padding, "constant")


def _reflection(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    p = operation.padding
    return _padding(((p, p), (p, p)), "reflect")


def _pad(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    batch, rows, columns, channels = operation.pad_width
    if operation.mode not in ("constant", "reflect", "symmetric") or any((*batch, *channels)):
        raise _unknown(operation, f"pads by {operation.pad_width} ({operation.mode})")
    return _padding((rows, columns), operation.mode)


def _cropping(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    (top, _), (left, right) = operation.cropping
    end = specs[0].shape[2] - right
    return Rule(Cropped(top), lambda strips: strips[0][:, :, left:end])


def _slicing(key: object, operation: keras.Operation, spec: keras.KerasTensor) -> Rule:
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis in key:
        at = key.index(Ellipsis)
        key = (*key[:at], *[slice(None)] * (5 - len(key)), *key[at + 1 :])
    key = (*key, *[slice(None)] * (4 - len(key)))
    if not all(isinstance(k, slice) and k.step in (None, 1) for k in key) or key[0] != slice(None):
        raise _unknown(operation, f"takes {key}")
    top = key[1].indices(spec.shape[1])[0]
    columns = slice(*key[2].indices(spec.shape[2]))
    return Rule(Cropped(top) if top else Window(), lambda strips: strips[0][:, :, columns, key[3]])


def _reduction(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule | Reduction:
    axes, name = _axes(operation, 4), type(operation).__name__
    if axes == (3,):
        return Rule()
    gather = {"Sum": Sum, "Mean": lambda: Sum(mean=True), "Max": Largest}[name]
    if axes != _SPATIAL:
        raise _unknown(operation, f"reduces the axes {axes}")
    return _reduced(gather, operation.keepdims, specs)


def _reduced(gather: Callable[[], Gathered], keepdims: bool, specs: list[keras.KerasTensor]) -> Reduction:
    channels = specs[0].shape[-1]
    return Reduction(gather, (1, 1, 1, channels) if keepdims else (1, channels))


def _global_average(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Reduction:
    return _reduced(lambda: Sum(mean=True), operation.keepdims, specs)


def _global_max(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Reduction:
    return _reduced(Largest, operation.keepdims, specs)


def _instance_norm(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Norm:
    def apply(values: list[Tensor]) -> Tensor:
        x, moments = values
        mean, variance = ops.cast(moments[:1], "float32"), ops.cast(moments[1:], "float32")
        y = (ops.cast(x, "float32") - mean) * ops.rsqrt(variance + operation.epsilon)
        if operation.affine:
            y = y * ops.cast(operation.gamma, "float32") + ops.cast(operation.beta, "float32")
        return ops.cast(y, x.dtype)

    return Norm(apply)


def _group_norm(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Norm:
    _over_channels(operation, specs)
    channels = specs[0].shape[-1]
    groups = channels if operation.groups == -1 else operation.groups

    def apply(values: list[Tensor]) -> Tensor:
        x, moments = values
        means, variances = ops.convert_to_numpy(moments).reshape(2, groups, channels // groups)
        mean = means.mean(-1, keepdims=True)
        variance = (variances + np.square(means - mean)).mean(-1, keepdims=True)
        by_channel = [np.broadcast_to(v, means.shape).reshape(1, 1, 1, channels) for v in (mean, variance)]
        mean, variance = (ops.convert_to_tensor(v, "float32") for v in by_channel)
        y = (ops.cast(x, "float32") - mean) * ops.rsqrt(variance + operation.epsilon)
        y = y if operation.gamma is None else y * ops.cast(operation.gamma, "float32")
        y = y if operation.beta is None else y + ops.cast(operation.beta, "float32")
        return ops.cast(y, x.dtype)

    return Norm(apply)


# Rows of a picture that a strip of a flow may ask for at once: so many for each of its own, and some.
_MOST_SPAN, _LEAST_SPAN = 4, 64


@dataclass(frozen=True)
class Warped(Window):
    """A picture sampled where a flow says: its rows are read once the flow of a strip is known."""

    def run(self, call: Call, strips: list[Tensor], row: int, rows: tuple[int, int], height: int) -> Tensor:
        read, flow = strips
        lines = np.arange(*rows, dtype="float32")[None, :, None]
        places = np.clip(lines + ops.convert_to_numpy(flow[..., 0]), 0.0, np.float32(height - 1))
        low, high = int(places.min()), min(int(places.max()) + 2, height)
        count = rows[1] - rows[0]
        if count > 1 and high - low > _MOST_SPAN * count + _LEAST_SPAN:
            # A flow that leaps asks for many rows of the picture: a few rows of it at a time.
            middle = rows[0] + count // 2
            parts = (flow[:, : count // 2], (rows[0], middle)), (flow[:, count // 2 :], (middle, rows[1]))
            return ops.concatenate([self.run(call, [read, part], row, own, height) for part, own in parts], axis=1)
        # As displacements within the rows that are read: these differences of near numbers are exact.
        down = places - np.float32(low) - np.arange(count, dtype="float32")[None, :, None]
        return _warped(read(low, high), ops.stack([ops.convert_to_tensor(down), flow[..., 1]], axis=-1))


def _warping(operation: keras.Operation, specs: list[keras.KerasTensor]) -> Rule:
    # Four neighbors of each pixel and their places.
    return Rule(Warped(), scratch=4 * 8 * specs[0].shape[2] * (specs[0].shape[3] + 1))


def _warped(picture: Tensor, flow: Tensor) -> Tensor:
    """`warp` wants a picture and a flow of one height: the shorter of the two is filled up below."""
    rows, missing = flow.shape[1], flow.shape[1] - picture.shape[1]
    margin = [[0, 0], [0, abs(missing)], [0, 0], [0, 0]]
    if missing > 0:
        picture = ops.pad(picture, margin)
    elif missing < 0:
        flow = ops.pad(flow, margin)
    return warp(picture, flow)[:, :rows]


HANDLERS: dict[str, Callable[[keras.Operation, list[keras.KerasTensor]], Rule | Reduction | Norm]] = {
    **dict.fromkeys(OVER_CHANNELS, _over_channels),
    "SyncBatchNormalization": _over_channels,
    "PReLU": _prelu,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "Conv2DTranspose": _transposed,
    "AveragePooling2D": _pooling,
    "MaxPooling2D": _pooling,
    "AveragePool": _pooling,
    "MaxPool": _pooling,
    "UpSampling2D": _enlargement,
    "Repeat": _repeat,
    "ZeroPadding2D": _zero_padding,
    "ReflectionPadding2D": _reflection,
    "Pad": _pad,
    "Cropping2D": _cropping,
    "Sum": _reduction,
    "Mean": _reduction,
    "Max": _reduction,
    "GlobalAveragePooling2D": _global_average,
    "GlobalMaxPooling2D": _global_max,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "BilinearWarp": _warping,
}
