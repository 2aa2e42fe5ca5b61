"""JSON of many megabytes, read in pieces.

Python's own reader holds every other thread of the process until it is through: for seconds, in which no deadline is
kept and nobody else is answered. Here it is given a few kilobytes at a time.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress

_PIECE = 2**14  # characters that Python's reader gets at a time
_DEEPEST = 64  # lists in lists that are longer than a piece
_decoder = json.JSONDecoder()
_space = re.compile(r"[ \t\n\r]*").match


def loads(content: bytes, check: Callable[[], None]) -> object:
    """Decode JSON to what `json.loads` gives for it.

    Args:
        content: the text, in UTF-8, UTF-16 or UTF-32.
        check: called between the pieces; whatever it raises ends the reading.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: its lists and objects are nested too deep.
    """
    text = content.decode(json.detect_encoding(content))
    value, at = _Reader(text, check).value(_after_space(text, 0), 0)
    if _after_space(text, at) != len(text):
        raise ValueError("something follows the value")
    return value


def _after_space(text: str, at: int) -> int:
    found = _space(text, at)
    return found.end() if found else at


class _Reader:
    """Reads values of a text, each from where it begins; returns it and where it ends."""

    def __init__(self, text: str, check: Callable[[], None]):
        self._text, self._check = text, check

    def value(self, at: int, depth: int) -> tuple[object, int]:
        opening = self._text[at : at + 1]
        if opening not in ("[", "{"):
            return self._scanned(self._text, at)
        try:
            value, length = self._scanned(self._text[at : at + _PIECE], 0)
            return value, at + length
        except ValueError:  # it is longer than a piece, or is not JSON, which its parts will tell
            self._check()
        if depth == _DEEPEST:
            raise RecursionError
        return self._list(at + 1, depth + 1) if opening == "[" else self._object(at + 1, depth + 1)

    def _scanned(self, text: str, at: int) -> tuple[object, int]:
        return _decoder.raw_decode(text, at)

    def _list(self, at: int, depth: int) -> tuple[list[object], int]:
        made: list[object] = []
        at, in_pieces = _after_space(self._text, at), True
        if self._text[at : at + 1] == "]":
            return made, at + 1
        while True:
            self._check()
            if in_pieces:
                some, at = self._elements(at)
                made += some
                in_pieces = bool(some)
                if some:
                    continue
            value, at = self.value(at, depth)
            made.append(value)
            at, ended = self._separator(at, "]")
            if ended:
                return made, at

    def _elements(self, at: int) -> tuple[list[object], int]:
        """Return as many elements as are whole in the next piece, and where the one after them begins.

        None are returned if it can't be seen where one ends: a comma may be inside of one.
        """
        for end in ("],", ","):
            found = self._text.rfind(end, at, at + _PIECE)
            if found < 0:
                continue
            comma = found + len(end) - 1
            piece = f"[{self._text[at:comma]}]"
            with suppress(ValueError):
                some, length = self._scanned(piece, 0)
                if isinstance(some, list) and some and length == len(piece):
                    return some, _after_space(self._text, comma + 1)
        return [], at

    def _object(self, at: int, depth: int) -> tuple[dict[str, object], int]:
        made: dict[str, object] = {}
        at = _after_space(self._text, at)
        if self._text[at : at + 1] == "}":
            return made, at + 1
        while True:
            self._check()
            key, at = self._scanned(self._text, at) if self._text[at : at + 1] == '"' else (None, at)
            at = _after_space(self._text, at)
            if not isinstance(key, str) or self._text[at : at + 1] != ":":
                raise ValueError(f"no name at {at}")
            made[key], at = self.value(_after_space(self._text, at + 1), depth)
            at, ended = self._separator(at, "}")
            if ended:
                return made, at

    def _separator(self, at: int, closing: str) -> tuple[int, bool]:
        """Return where the next element begins, or where the list or object ends, and whether it does."""
        at = _after_space(self._text, at)
        found = self._text[at : at + 1]
        if found == closing:
            return at + 1, True
        if found != ",":
            raise ValueError(f"no comma at {at}")
        return _after_space(self._text, at + 1), False
