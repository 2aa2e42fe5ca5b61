"""Keras' activation functions, on values of any rank."""

import functools
import math
from collections.abc import Callable

import keras
import numpy as np

from .arithmetic import broadcast, clipped, combined, unary, with_constant
from .graph import Graph, Unsupported, Value

Function = Callable[[Graph, Value], Value]


def leaky_relu(graph: Graph, value: Value, slope: float = 0.2) -> Value:
    return unary(graph, "LeakyRelu", value, alpha=float(slope))


def elu(graph: Graph, value: Value, alpha: float = 1.0) -> Value:
    return unary(graph, "Elu", value, alpha=float(alpha))


def silu(graph: Graph, value: Value) -> Value:
    return combined(graph, "Mul", [value, unary(graph, "Sigmoid", value)])


def hard_sigmoid(graph: Graph, value: Value) -> Value:
    return unary(graph, "HardSigmoid", value, alpha=1 / 6, beta=0.5)


def hard_silu(graph: Graph, value: Value) -> Value:
    return combined(graph, "Mul", [value, hard_sigmoid(graph, value)])


def gelu(graph: Graph, value: Value, approximate: bool = False) -> Value:
    """Compute x · Φ(x) by older operators: Gelu is younger than most runtimes."""
    if approximate:
        cube = combined(graph, "Mul", [value, combined(graph, "Mul", [value, value])])
        inner = combined(graph, "Add", [value, with_constant(graph, "Mul", cube, 0.044715)])
        bent = unary(graph, "Tanh", with_constant(graph, "Mul", inner, math.sqrt(2 / math.pi)))
    else:
        bent = unary(graph, "Erf", with_constant(graph, "Mul", value, math.sqrt(0.5)))
    share = with_constant(graph, "Mul", with_constant(graph, "Add", bent, 1.0), 0.5)
    return combined(graph, "Mul", [value, share])


def softmax(graph: Graph, value: Value, axis: int = -1) -> Value:
    return unary(graph, "Softmax", value, axis=value.axis(axis))


def log_softmax(graph: Graph, value: Value, axis: int = -1) -> Value:
    return unary(graph, "LogSoftmax", value, axis=value.axis(axis))


def mish(graph: Graph, value: Value) -> Value:
    return combined(graph, "Mul", [value, unary(graph, "Tanh", unary(graph, "Softplus", value))])


def log_sigmoid(graph: Graph, value: Value) -> Value:
    return unary(graph, "Neg", unary(graph, "Softplus", unary(graph, "Neg", value)))


def squareplus(graph: Graph, value: Value) -> Value:
    root = unary(graph, "Sqrt", with_constant(graph, "Add", combined(graph, "Mul", [value, value]), 4.0))
    return with_constant(graph, "Mul", combined(graph, "Add", [value, root]), 0.5)


def celu(graph: Graph, value: Value, alpha: float = 1.0) -> Value:
    return unary(graph, "Celu", value, alpha=float(alpha))


def tanh_shrink(graph: Graph, value: Value) -> Value:
    return combined(graph, "Sub", [value, unary(graph, "Tanh", value)])


def relu(graph: Graph, value: Value, slope: float = 0.0, most: float | None = None, threshold: float = 0.0) -> Value:
    """Compute Keras' ReLU with all its options."""
    if threshold:
        passed = broadcast(graph, "Greater", [value, graph.value_of(np.array(threshold, "float32"))])
        below = with_constant(graph, "Mul", with_constant(graph, "Sub", value, threshold), slope)
        value = where(graph, passed, value, below)
        return value if most is None else clipped(graph, value, None, most)
    value = leaky_relu(graph, value, slope) if slope else value
    if most is not None:
        return clipped(graph, value, None if slope else 0.0, most)
    return value if slope else unary(graph, "Relu", value)


def where(graph: Graph, condition: Value, chosen: Value, other: Value) -> Value:
    """Return the elements of `chosen` where the condition holds, else those of `other`."""
    return broadcast(graph, "Where", [condition, chosen, other])


def _leaky_relu_layer(graph: Graph, value: Value, layer: keras.layers.LeakyReLU) -> Value:
    return leaky_relu(graph, value, layer.negative_slope)


def _simple(kind: str) -> Function:
    return functools.partial(lambda graph, value, kind: unary(graph, kind, value), kind=kind)


FUNCTIONS: dict[object, Function] = {
    keras.activations.celu: celu,
    keras.activations.elu: elu,
    keras.activations.exponential: _simple("Exp"),
    keras.activations.gelu: gelu,
    keras.activations.hard_sigmoid: hard_sigmoid,
    keras.activations.hard_silu: hard_silu,
    keras.activations.hard_tanh: lambda graph, value: clipped(graph, value, -1.0, 1.0),
    keras.activations.leaky_relu: leaky_relu,
    keras.activations.linear: lambda graph, value: value,
    keras.activations.log_sigmoid: log_sigmoid,
    keras.activations.log_softmax: log_softmax,
    keras.activations.mish: mish,
    keras.activations.relu: relu,
    keras.activations.relu6: lambda graph, value: relu(graph, value, most=6.0),
    keras.activations.selu: _simple("Selu"),
    keras.activations.sigmoid: _simple("Sigmoid"),
    keras.activations.silu: silu,
    keras.activations.softmax: softmax,
    keras.activations.softplus: _simple("Softplus"),
    keras.activations.softsign: _simple("Softsign"),
    keras.activations.squareplus: squareplus,
    keras.activations.tanh: _simple("Tanh"),
    keras.activations.tanh_shrink: tanh_shrink,
}


def activated(graph: Graph, function: object, value: Value, layer: str) -> Value:
    """Append an activation function of Keras; a layer may use one as its activation.

    Raises:
        Unsupported: it is the user's own, or has no translation.
    """
    if function in FUNCTIONS:
        return FUNCTIONS[function](graph, value)
    if type(function) is keras.layers.LeakyReLU:
        return _leaky_relu_layer(graph, value, function)
    name = getattr(function, "__name__", type(function).__name__)
    raise Unsupported(f"the layer {layer!r} has the activation {name!r}, which has no direct translation")
