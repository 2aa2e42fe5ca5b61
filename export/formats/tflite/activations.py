"""Softplus and log_sigmoid without an exponential that overflows, which the runtime's own way does from 88 on."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_ENDING = r"Activation|Dense|EinsumDense|(Depthwise|Separable)?Conv[123]D(Transpose)?"  # layers that end with theirs
_NAMES = {"Softplus": "softplus", "LogSigmoid": "log_sigmoid"}  # of operations, and of functions


def computed_by(operation: "keras.Operation") -> str:
    """Return "softplus" or "log_sigmoid" if an operation computes it, at its end at least; else nothing."""
    kind = type(operation)
    if kind.__module__ == "keras.src.ops.nn":
        return _NAMES.get(kind.__name__, "")
    # A recurrent layer's activation is within it, and a subclass may compute something else.
    if not (kind.__module__.startswith("keras.") and re.fullmatch(_ENDING, kind.__name__)):
        return ""
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    return name if name in _NAMES.values() else ""


def before_it(layer: "keras.Layer") -> "keras.Layer | None":
    """Return what a layer computes before its activation, as a layer with a copy of its weights; None for nothing."""
    import keras

    if not isinstance(layer, keras.Layer) or type(layer) is keras.layers.Activation:
        return None
    twin = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin


def computed(name: str, x: "tf.Tensor") -> "tf.Tensor":
    """Return softplus or log_sigmoid of x."""
    from keras import ops

    x = -x if name == "log_sigmoid" else x
    found = ops.maximum(x, 0.0) + ops.log(1.0 + ops.exp(-ops.abs(x)))
    return -found if name == "log_sigmoid" else found
