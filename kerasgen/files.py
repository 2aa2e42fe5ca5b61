"""Atomic writes: a reader sees the old file or the new one, never half of either."""

import ctypes
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kerasgen.errors import UserError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there (a file or a folder) then becomes `path`.

    The temporary path ends like `path`, so that writers which look at the suffix work. After an exception,
    Ctrl-C included, it is removed and what stood at `path` is untouched.

    Raises:
        UserError: the folder can't be written to, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        flush(temporary)
        if temporary.is_dir() and path.exists():
            _swap_directories(temporary, path)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror or error}): "
            "choose a folder that you may write to, on a disk with free space."
        ) from error
    finally:
        _remove(temporary)


def flush(path: Path) -> None:
    """Force the bytes to disk, so that a power cut after the rename doesn't leave an empty file."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for file in files:
        descriptor = os.open(file, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap_directories(new: Path, old: Path) -> None:
    """Exchange two folders; `new` holds the former content afterwards and is removed by the caller.

    Linux does it in one step. Elsewhere the old folder is moved aside first, and back if the rename fails.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        renamed = libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
        if renamed == 0:
            return
    aside = old.with_name(f".tmp-{uuid.uuid4().hex[:8]}-{old.name}")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
