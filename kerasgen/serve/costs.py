"""What a network takes of memory for a request, from two runs that TensorFlow itself traces when it is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .batching import Arrays
from .pictures import as_png, decoded, picture_size

if TYPE_CHECKING:
    from tensorflow.core.protobuf.config_pb2 import RunMetadata
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

_STRING = 7  # DT_STRING
_SIDE = 32  # pixels of a picture where nothing says another size
# Where a network can't be tried: four float tensors of 64 channels, alive at once.
_GUESSED = 1024.0


@dataclass(frozen=True)
class Cost:
    """Bytes that a signature takes: `row` for each example, `pixel` for each pixel where pictures have any size."""

    row: float
    pixel: float

    def of_row(self, pixels: int) -> float:
        """Return the bytes for one example of so many pixels."""
        return self.row + self.pixel * pixels


def measured(definition: "SignatureDef", inputs: Arrays | None, peak: Callable[[Arrays], int]) -> Cost:
    """Return what a signature takes, from an example and one of twice its height and width.

    Args:
        definition: the SignatureDef.
        inputs: an example; None makes one of zeros.
        peak: runs it, and returns the most bytes that were alive at once.
    """
    try:
        inputs = inputs or _made(definition)
        larger = _doubled(definition, inputs)
        rows = row_count(definition, inputs)
        small = peak(inputs)
        if larger is None:
            return Cost(small / rows, 0.0)
        pixels = sum(row_pixels(definition, inputs))
        slope = max(0.0, (peak(larger) - small) / (3 * pixels))
        return Cost(max(0.0, small - slope * pixels) / rows, slope)
    except Exception:  # a foreign network may refuse zeros, or such a size: it is served all the same
        return Cost(0.0, _GUESSED)


def traced_peak(metadata: "RunMetadata") -> int:
    """Return the most bytes that were alive at once in a run with FULL_TRACE."""
    records = sorted(
        (record.alloc_micros, record.alloc_bytes)
        for device in metadata.step_stats.dev_stats
        for node in device.node_stats
        for memory in node.memory
        for record in memory.allocation_records
    )
    return int(max(np.cumsum([size for _, size in records]), default=0))


def row_count(definition: "SignatureDef", inputs: Arrays) -> int:
    """Return how many examples a request has: its batch, or the pictures that a scalar called n asks for."""
    if "n" in inputs and not inputs["n"].ndim:
        return max(1, int(inputs["n"]))
    return max((len(value) for value in inputs.values() if value.ndim), default=1)


def row_pixels(definition: "SignatureDef", inputs: Arrays) -> list[int]:
    """Return the pixels of each example's pictures, where the signature takes pictures of any size."""
    pixels = [0] * row_count(definition, inputs)
    for name, value in inputs.items():
        info = definition.inputs[name]
        if _is_open(info):
            each = [value.shape[1] * value.shape[2]] * len(value)
        elif _is_files(name, info) and value.ndim == 1:
            each = [int(np.prod(picture_size(file) or (0, 0), dtype="int64")) for file in value]
        else:
            continue
        pixels = [a + b for a, b in zip(pixels, each, strict=False)]
    return pixels


def _is_open(info: "TensorInfo") -> bool:
    dims = [dim.size for dim in info.tensor_shape.dim]
    return len(dims) == 4 and dims[1] == dims[2] == -1


def _is_files(name: str, info: "TensorInfo") -> bool:
    return info.dtype == _STRING and name.endswith("_bytes")


def _made(definition: "SignatureDef") -> Arrays:
    import tensorflow as tf

    def one(name: str, info: "TensorInfo") -> np.ndarray:
        dims = [dim.size for dim in info.tensor_shape.dim]
        if info.dtype == _STRING:
            return np.array([as_png(np.zeros((_SIDE, _SIDE, 3), "uint8"))], object)
        shape = [size if size > 0 else _SIDE if axis and len(dims) == 4 else 1 for axis, size in enumerate(dims)]
        # A scalar may count pictures.
        return (np.zeros if shape else np.ones)(shape, tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)

    return {name: one(name, info) for name, info in definition.inputs.items()}


def _doubled(definition: "SignatureDef", inputs: Arrays) -> Arrays | None:
    """Return the example at twice its height and width; None if nothing in it has a size of its own."""
    larger = dict(inputs)
    for name, value in inputs.items():
        info = definition.inputs[name]
        if _is_open(info):
            larger[name] = value.repeat(2, 1).repeat(2, 2)
        elif _is_files(name, info):
            larger[name] = np.array([as_png(decoded(file).repeat(2, 0).repeat(2, 1)) for file in value], object)
    return larger if any(larger[name] is not inputs[name] for name in inputs) else None
