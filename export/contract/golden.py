"""One input and its output that every client can reproduce, in any language, to see whether its code is right."""

import math

import numpy as np

from ..gate.runtime import Arrays
from .inputs import fixed_batch
from .signature import Signature

_FACTOR = 2654435761  # Knuth's multiplicative hash
_VALUES = 16
RULE = (
    f"element i (row-major, from 0) of each input: u = (i * {_FACTOR} mod 2^32) / 2^32; "
    "uint8: floor(256 u); pictures in floats: low + u (high - low); other floats: 2 u - 1; other integers: floor(2 u)"
)


def golden_pair(signature: Signature, sent: Arrays) -> dict:
    """Return the rule of the input, and some values of the output that Keras gives for it.

    Args:
        signature: `serving_default`.
        sent: a batch as clients send it; its sizes are taken, for a batch of one where the network takes any.
    """
    count = fixed_batch(signature) or 1
    inputs = {name: _filled(signature, name, (count, *value.shape[1:])) for name, value in sent.items()}
    outputs = {}
    for name, value in signature.reference(inputs).items():
        flat = value.reshape(-1)
        positions = np.linspace(0, flat.size - 1, min(_VALUES, flat.size)).astype(int).tolist()
        outputs[name] = {
            "shape": list(value.shape),
            "positions": positions,
            "values": [flat[position].item() for position in positions],
        }
    return {
        "input_rule": RULE,
        "inputs": {name: {"shape": list(value.shape)} for name, value in inputs.items()},
        "outputs": outputs,
    }


def _filled(signature: Signature, name: str, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    u = (np.arange(count, dtype=np.uint64) * np.uint64(_FACTOR) % np.uint64(2**32)).astype("float64") / 2**32
    dtype = np.dtype(signature.inputs[name].dtype)
    if dtype == np.uint8:
        values = np.floor(256 * u)
    elif dtype.kind != "f":
        values = np.floor(2 * u)
    elif len(shape) == 4 and signature.image is not None:
        low, high = signature.image.value_range
        values = low + u * (high - low)
    else:
        values = 2 * u - 1
    return values.reshape(shape).astype(dtype)
