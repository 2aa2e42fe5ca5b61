"""What a model gave, in JSON: in pieces, because a large answer takes long and its client may be gone by then."""

import base64
import json
from collections.abc import Iterator

import numpy as np

from .batching import Arrays
from .refusal import Refusal, invalid

_PIECE = 2**14  # numbers that are written at a time
_SIGNS = {"u": 5, "i": 8, "b": 7, "f": 21}  # of a number in JSON, by its kind


def check_size(outputs: Arrays, most: int) -> None:
    """Raise `Refusal` if the answer would have more than `most` bytes as JSON."""
    size = sum(value.size * _SIGNS[value.dtype.kind] for value in outputs.values() if value.dtype.kind in _SIGNS)
    if size > most:
        said = f"about {size / 2**20:,.0f} MiB as JSON, but at most {most / 2**20:,.0f} MiB are given"
        raise invalid(f"The answer would have {said}: ask for fewer examples at a time, or by gRPC.")


def pieces(outputs: Arrays, rows: bool) -> Iterator[str]:
    """Yield the answer's text as TensorFlow Serving has it: strings of an output named ..._bytes are base64.

    Raises:
        Refusal: rows are asked for, but the outputs have no common first axis.
    """
    if rows and len({value.shape[:1] for value in outputs.values()} | {()}) != 2:
        raise invalid('The outputs have no common first axis: send "inputs" instead of "instances".')
    yield f'{{"{"predictions" if rows else "outputs"}": '
    if len(outputs) == 1:
        yield from _tensor(*next(iter(outputs.items())))
    elif rows:
        for i in range(len(next(iter(outputs.values())))):
            yield ", " if i else "["
            yield from _object({name: value[i] for name, value in outputs.items()})
        yield "]"
    else:
        yield from _object(outputs)
    yield "}\n"


def _object(outputs: Arrays) -> Iterator[str]:
    for i, (name, value) in enumerate(outputs.items()):
        yield f"{', ' if i else '{'}{json.dumps(name)}: "
        yield from _tensor(name, np.asarray(value))
    yield "}"


def _tensor(name: str, value: np.ndarray) -> Iterator[str]:
    if value.size <= _PIECE or not value.ndim:
        yield _text(name, value)
        return
    each = value[0].size
    step = _PIECE // each
    yield "["
    for start in range(0, len(value), step or 1):
        yield ", " if start else ""
        if step:
            yield _text(name, value[start : start + step])[1:-1]
        else:
            yield from _tensor(name, value[start])
    yield "]"


def _text(name: str, value: np.ndarray) -> str:
    def word(item: bytes | str | list) -> object:
        if isinstance(item, list):
            return [word(part) for part in item]
        if isinstance(item, str):
            return item
        return {"b64": base64.b64encode(item).decode()} if name.endswith("_bytes") else item.decode(errors="replace")

    listed = value.tolist()
    try:
        # As TensorFlow Serving does: NaN and Infinity stay words.
        return json.dumps(word(listed) if value.dtype.kind in "OS" else listed)
    except TypeError:
        raise Refusal("INTERNAL", f"The output {name!r} is {value.dtype}, which JSON lacks: ask by gRPC.") from None
