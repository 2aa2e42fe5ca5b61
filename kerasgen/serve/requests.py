"""What clients send, checked before a model sees it: names, dtypes, shapes, sizes, and the heads of picture files."""

import base64
import binascii
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.export.serving import dtype_name

from .batching import Arrays
from .pictures import picture_size
from .refusal import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

_MOST_FILES = 1024
_AT_ONCE = 2**15  # numbers in lists that become an array
_STRING = 7  # DT_STRING


def from_protos(definition: "SignatureDef", tensors: "Mapping[str, TensorProto]", max_pixels: int) -> Arrays:
    """TensorProto messages as arrays.

    Raises:
        Refusal: they don't fit the signature.
    """
    import tensorflow as tf

    _check_names(definition, set(tensors))
    inputs = {}
    for name, tensor in tensors.items():
        info = definition.inputs[name]
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        _check_tensor(name, info, dtype_name(tensor.dtype), shape, max_pixels)
        try:
            # A single value stands for a whole tensor, so that a few bytes may ask for gigabytes: the sizes are
            # checked above.
            inputs[name] = tf.make_ndarray(tensor)
        except (ValueError, TypeError) as error:
            said = str(error).splitlines()[0]
            raise invalid(f"The tensor {name!r} says the shape {shape}, but holds other values ({said}).") from None
    _check_values(definition, inputs, max_pixels)
    return inputs


def from_json(
    definition: "SignatureDef", body: object, max_pixels: int, check: "Callable[[], None]"
) -> tuple[Arrays, bool]:
    """Return a decoded JSON body as arrays, and whether it is in rows ("instances") instead of columns ("inputs").

    Args:
        definition: of the signature.
        body: is emptied meanwhile.
        max_pixels: of all pictures, or values of a tensor that is not a picture.
        check: called between the parts of long lists; whatever it raises ends the reading.

    Raises:
        Refusal: it is neither, or doesn't fit the signature.
    """
    if not isinstance(body, dict) or ("instances" in body) == ("inputs" in body):
        raise invalid('The body needs either "instances" (a list of rows) or "inputs" (tensors).')
    rows, names = "instances" in body, list(definition.inputs)
    tensors = _columns(body["instances"], names, max_pixels) if rows else body["inputs"]
    if not isinstance(tensors, dict) or (len(names) == 1 and set(tensors) == {"b64"}):
        if len(names) != 1:
            raise invalid(f"The signature takes {', '.join(names)}: send an object with these names.")
        tensors = {names[0]: tensors}
    _check_names(definition, set(tensors))
    inputs = {name: _array(name, value, definition.inputs[name], check) for name, value in tensors.items()}
    for name, value in inputs.items():
        dtype = "string" if value.dtype.kind == "O" else value.dtype.name
        _check_tensor(name, definition.inputs[name], dtype, list(value.shape), max_pixels)
    _check_values(definition, inputs, max_pixels)
    return inputs, rows


def _check_names(definition: "SignatureDef", names: set[str]) -> None:
    if names != set(definition.inputs):
        received = ", ".join(sorted(names)) or "none"
        raise invalid(f"Received the inputs {received}; the signature takes {', '.join(sorted(definition.inputs))}.")


def _check_tensor(name: str, info: "TensorInfo", dtype: str, shape: list[int], max_pixels: int) -> None:
    wanted, wanted_dtype = [dim.size for dim in info.tensor_shape.dim], dtype_name(info.dtype)
    if dtype != wanted_dtype:
        raise invalid(f"The input {name!r} is {dtype}, but {wanted_dtype} is needed.")
    fits = len(shape) == len(wanted) and all(w in (-1, s) for w, s in zip(wanted, shape, strict=True))
    if not fits:
        needed = [None if size == -1 else size for size in wanted]
        raise invalid(f"The input {name!r} has the shape {shape}, but {needed} is needed (None is any size).")
    if shape and min(shape) < 1:
        raise invalid(f"The input {name!r} has the shape {shape} and is empty: send at least one example.")
    pixels = prod(shape[:3]) if len(shape) == 4 else prod(shape)
    if pixels > max_pixels:
        raise invalid(f"The input {name!r} has {pixels:,} pixels or values, but at most {max_pixels:,} are taken.")


def _check_values(definition: "SignatureDef", inputs: Arrays, max_pixels: int) -> None:
    batches = {name: value.shape[0] for name, value in inputs.items() if value.ndim}
    if len(set(batches.values())) > 1:
        raise invalid(f"The inputs differ in their number of examples ({batches}).")
    for name, value in inputs.items():
        if definition.inputs[name].dtype == _STRING and name.endswith("_bytes"):
            _check_pictures(name, value, max_pixels)
        elif not value.ndim and name == "n":
            _check_count(definition, int(value), batches, max_pixels)


def _check_count(definition: "SignatureDef", count: int, batches: dict[str, int], max_pixels: int) -> None:
    """Raise `Refusal` unless a signature that makes n pictures is asked for a number that is taken."""
    sides = [[dim.size for dim in info.tensor_shape.dim[1:3]] for info in definition.outputs.values()]
    most = max_pixels // max(1, *map(prod, sides))
    if not 1 <= count <= most:
        raise invalid(f"The input n is {count}, but 1 to {most:,} pictures can be asked for.")
    for name, rows in batches.items():
        if rows not in (1, count):
            raise invalid(
                f"The input {name!r} has {rows} examples for {count} pictures: send one for all, or {count}."
            )


def _check_pictures(name: str, files: np.ndarray, max_pixels: int) -> None:
    if files.size > _MOST_FILES:
        raise invalid(f"{name!r} has {files.size:,} files, but {_MOST_FILES:,} are taken at a time: send fewer.")
    pixels = 0
    for i, file in enumerate(files.ravel()):
        size = picture_size(file)
        if size is None:
            raise invalid(f"Number {i} of {name!r} ({len(file)} bytes) is not a PNG or JPEG file.")
        pixels += size[0] * size[1]
        if not size[0] * size[1] or pixels > max_pixels:
            raise invalid(
                f"Number {i} of {name!r} says {size[0]}×{size[1]} pixels, but a request takes 1 to {max_pixels:,} "
                "pixels in all: shrink it, or send fewer at a time."
            )


def _columns(instances: object, names: list[str], most: int) -> object:
    if not isinstance(instances, list) or not 1 <= len(instances) <= most:
        raise invalid(f'"instances" must be a list of at least one row, and of {most:,} at most.')
    named = [isinstance(row, dict) and not (len(names) == 1 and set(row) == {"b64"}) for row in instances]
    if not any(named):
        return {names[0]: instances} if len(names) == 1 else instances
    if not all(named) or any(set(row) != set(instances[0]) for row in instances):
        raise invalid("The rows differ in their names: send objects with the same names.")
    return {name: [row[name] for row in instances] for name in instances[0]}


def _array(name: str, value: object, info: "TensorInfo", check: "Callable[[], None]") -> np.ndarray:
    import tensorflow as tf

    if info.dtype == _STRING:
        return _strings(name, value)
    return _tensor(name, value, tf.dtypes.as_dtype(info.dtype), check)


def _tensor(name: str, value: object, wanted: "tf.DType", check: "Callable[[], None]") -> np.ndarray:
    """Return lists as an array.

    In parts, because NumPy keeps every other thread from running while it goes through lists, as Python does while it
    gives them back.
    """
    each = _size(value[0]) if isinstance(value, list) and value else 0
    if not isinstance(value, list) or len(value) * each <= _AT_ONCE:
        return _numbers(name, value, wanted)
    parts, step = [], max(1, _AT_ONCE // each)
    for i in range(0, len(value), step):
        check()
        some = value[i : i + step]
        small = each <= _AT_ONCE
        parts.append(_numbers(name, some, wanted) if small else _tensor(name, some[0], wanted, check)[None])
        value[i : i + step] = [None] * len(some)
    if len({part.shape[1:] for part in parts}) > 1:
        raise invalid(f"The input {name!r} is not a tensor: its lists differ in length.")
    return np.concatenate(parts)


def _size(value: object) -> int:
    """Return how many numbers are in lists of lists, going by the first of each."""
    size = 1
    while isinstance(value, list):
        size *= len(value)
        value = value[0] if value else None
    return size


def _numbers(name: str, value: object, wanted: "tf.DType") -> np.ndarray:
    # Python's own objects first: as text, a thousand words and a long one would become a thousand long ones.
    array = np.array(value, object)
    kinds = set(map(type, array.ravel()))
    if kinds & {list, dict}:
        raise invalid(f"The input {name!r} is not a tensor: its lists differ in length, or hold objects.")
    if not kinds <= ({bool} if wanted.is_bool else {int} if wanted.is_integer else {int, float}):
        raise invalid(f"The input {name!r} holds other values than {wanted.name} numbers.")
    if array.size and wanted.is_integer and not (array.min() >= wanted.min and array.max() <= wanted.max):
        limits = f"{wanted.min} to {wanted.max}, which {wanted.name} has"
        raise invalid(f"The input {name!r} holds values outside of {limits}.")
    try:
        with np.errstate(over="ignore"):
            return array.astype(wanted.as_numpy_dtype)
    except (OverflowError, TypeError, ValueError):
        raise invalid(f"The input {name!r} holds values that {wanted.name} lacks.") from None


def _strings(name: str, value: object) -> np.ndarray:
    def one(item: object) -> bytes:
        if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
            return _from_base64(name, item["b64"])
        if isinstance(item, str):
            return item.encode(errors="replace")
        raise invalid(f'The input {name!r} needs strings: send {{"b64": "..."}} for bytes.')

    if not isinstance(value, list):
        return np.array(one(value), object)
    made = np.empty(len(value), object)
    made[:] = [one(item) for item in value]
    return made


def _from_base64(name: str, text: str) -> bytes:
    """Decode as TensorFlow Serving does: white space doesn't count, and the padding may be missing."""
    text = "".join(text.split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"The input {name!r} holds what is not base64.") from None
