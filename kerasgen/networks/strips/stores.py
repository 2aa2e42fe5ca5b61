"""Where a map lies whole: in memory, or in a temporary file that nobody else sees."""

import os
import tempfile
from typing import Protocol

import numpy as np

from kerasgen.errors import UserError


class Rows(Protocol):
    """A picture whose rows can be read anywhere."""

    shape: tuple[int, int, int]

    def read(self, low: int, high: int) -> np.ndarray:
        """Return the rows [low, high) as [rows, width, channels]."""


class InMemory:
    """An array [height, width, channels]."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.shape = array.shape

    def read(self, low: int, high: int) -> np.ndarray:
        return self.array[low:high]

    def write(self, low: int, rows: np.ndarray) -> None:
        """Replace the rows from `low` on."""
        self.array[low : low + len(rows)] = rows

    def close(self) -> None:
        """Forget the array."""
        del self.array


class OnDisk:
    """A file without a name: the system removes it with the process that has it open, however that one ends.

    It is read and written rather than mapped: pages of a mapped file count as the process's memory.

    Raises:
        UserError: the disk is full, here or in `write`.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype, folder: str | os.PathLike | None):
        self.shape, self._dtype = shape, dtype
        self._folder = os.fspath(folder or tempfile.gettempdir())
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (closed by `close`)
        except OSError as error:
            raise self._full(error) from error
        self._row = int(np.prod(shape[1:])) * dtype.itemsize

    def read(self, low: int, high: int) -> np.ndarray:
        rows = np.empty((high - low, *self.shape[1:]), self._dtype)
        view = rows.reshape(-1).view(np.uint8).data
        self._file.seek(low * self._row)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])
            if not count:
                raise EOFError(f"a temporary file in {self._folder} was cut short")
            done += count
        return rows

    def write(self, low: int, rows: np.ndarray) -> None:
        view = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        try:
            self._file.seek(low * self._row)
            done = 0
            while done < len(view):
                done += self._file.write(view[done:])
        except OSError as error:
            raise self._full(error) from error

    def close(self) -> None:
        self._file.close()

    def _full(self, error: OSError) -> UserError:
        size = np.prod(self.shape, dtype=float) * self._dtype.itemsize / 1e6
        return UserError(
            f"A temporary file of {size:,.0f} MB can't be written to {self._folder} ({error.strerror or error}): "
            "make room there, or give more memory."
        )
