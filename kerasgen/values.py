"""One check for each kind of value that people give, by the command line and by the API alike.

Each takes the name that the value was given by, such as "--n" or "n", and the value; it returns the value as the type
that it should have, or raises a `UserError` that names it.
"""

import math
import operator
import os
from pathlib import Path

from kerasgen.errors import UserError
from kerasgen.memory import free_memory

MOST_PIXELS = 16_384  # of a side
_MOST = 10**6  # of what is counted: pictures, steps, epochs


def whole(name: str, value: object, least: int = 1, most: int = _MOST) -> int:
    """Return a whole number from `least` to `most`."""
    number = _index(name, value)
    if not least <= number <= most:
        raise UserError(f"{name} is {_said(value)}: give a whole number from {least:,} to {most:,}.")
    return number


def seed(name: str, value: object) -> int:
    """Return a seed, which NumPy, Keras and TensorFlow take."""
    return whole(name, value, 0, 2**32 - 1)


def pixels(name: str, value: object) -> int:
    """Return the length of a picture's side."""
    return whole(name, value, 1, MOST_PIXELS)


def shape(name: str, value: object, axes: str) -> tuple[int, ...]:
    """Return the sizes of an array of such axes, as in "height, width"."""
    found = _wholes(name, value, MOST_PIXELS)
    if len(found) != axes.count(",") + 1:
        raise UserError(f"{name} is {_said(value)}: give whole numbers for ({axes}).")
    return found


def widths(name: str, value: object) -> tuple[int, ...]:
    """Return the channels of a network's levels: whole numbers, one at least."""
    found = _wholes(name, value, _MOST)
    if not found:
        raise UserError(f"{name} is {_said(value)}: give the channels of each level, such as (32, 64).")
    return found


def _wholes(name: str, value: object, most: int) -> tuple[int, ...]:
    """Return whole numbers from 1 to `most`; none of what isn't several."""
    try:
        return tuple(whole(name, part, 1, most) for part in value)  # type: ignore[attr-defined]
    except TypeError:
        return ()


def port(name: str, value: object) -> int:
    """Return a port of TCP; 0 means any that is free."""
    return whole(name, value, 0, 65_535)


def number(name: str, value: object, least: float = -math.inf, above: float = -math.inf) -> float:
    """Return a finite number that is at least `least`, and larger than `above`."""
    try:
        found = float(value) if not isinstance(value, bool | str) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or found < least or found <= above:
        wanted = f" of at least {least:g}" if least > -math.inf else f" above {above:g}" if above > -math.inf else ""
        raise UserError(f"{name} is {_said(value)}: give a finite number{wanted}.")
    return found


def pair(name: str, value: object) -> tuple[float, float]:
    """Return two finite numbers, the lower one first, from "LOW,HIGH" or from two numbers."""
    advice = "give two numbers, the lower one first, such as -1,1"
    try:
        parts = [float(part) for part in value.split(",")] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
        low, high = (number(name, part) for part in parts)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} is {_said(value)}: {advice}.") from error
    if not low < high:
        raise UserError(f"{name} is {_said(value)}: {advice}.")
    return low, high


def room(name: str, value: object, wanted: int) -> None:
    """Raise `UserError` if a value asks for more bytes of memory than there are."""
    if wanted > (free := free_memory()):
        raise UserError(f"{name} is {_said(value)}, which takes {wanted:,} bytes, and {free:,} are free: give less.")


def path(name: str, value: object) -> Path:
    """Return a path that is not empty."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value) or "\0" in str(value):
        raise UserError(f"{name} is {_said(value)}: give the path of a file or a folder.")
    return Path(value)


def _index(name: str, value: object) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UserError(f"{name} is {_said(value)}: give a whole number.") from None


def _said(value: object) -> str:
    text = repr(value[:60] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 80 else f"{text[:79]}…"
