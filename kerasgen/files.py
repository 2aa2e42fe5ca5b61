"""Writing that survives a kill: a reader sees the old file or the new one, and what was left is removed by the next.

What is being written lies beside its target in `.kerasgen-tmp-UID/`, in a folder that is named after its writer's
process and that the writer holds a lock on. Whoever writes there next removes the folders whose lock nobody holds any
more, and nothing else anywhere. Locks are the system's: they end with their process. Where a file system has none,
nothing is removed.
"""

import ctypes
import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from kerasgen.errors import UserError, reason

MODEL_FILE = "model.keras"  # of a run's folder
_USER = os.getuid() if hasattr(os, "getuid") else 0
_PLACE = f".kerasgen-tmp-{_USER}"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path; what was written there (a file or a folder) then becomes `path`.

    The temporary path has the name of `path`, in another folder. After an exception, Ctrl-C included, it is removed
    and what stood at `path` is untouched; after a kill, the next write into that folder removes it.

    Raises:
        UserError: the path is empty, the folder can't be written to, or the disk is full.
    """
    path = _named(path)
    try:
        with _made(path.parent), own_folder(path.parent) as folder:
            temporary = folder / path.name
            yield temporary
            flush(temporary)
            publish(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder where it is missing; after an exception it goes again, if nothing came into it."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for one in missing:
                one.rmdir()
        raise


def numbered(folder: Path, prefix: str, suffix: str) -> list[Path]:
    """Return a folder's files whose names are a number between these, the lowest first; copies beside them aren't."""
    named = re.compile(rf"{re.escape(prefix)}\d+{re.escape(suffix)}")
    return sorted(path for path in folder.glob(f"{prefix}*") if named.fullmatch(path.name))


def publish(temporary: Path, path: Path) -> None:
    """Rename what is complete and flushed to its name, in one step, for good."""
    if temporary.is_dir() and path.exists():
        _swap(temporary, path)
    else:
        os.replace(temporary, path)
    fsync(path.parent)


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder of the system's temporary ones, for what is of no use afterwards.

    It is removed afterwards; after a kill, the next call removes it.

    Raises:
        UserError: there is none that can be written to.
    """
    with ExitStack() as stack:
        try:
            system = Path(tempfile.gettempdir())
            folder = stack.enter_context(own_folder(system))
        except OSError as error:
            raise UserError(
                f"No temporary folder can be made ({reason(error)}): set the environment variable TMPDIR to one."
            ) from error
        yield folder


@contextmanager
def scratch_for_all() -> Iterator[None]:
    """Let all libraries put what is temporary where the next command removes it, should this one be killed."""
    with scratch() as folder:
        former, kept = tempfile.tempdir, os.environ.get("TMPDIR")
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = former
            os.environ.pop("TMPDIR")
            if kept is not None:
                os.environ["TMPDIR"] = kept


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file or a folder that exists, after all processes that held it before."""
    lock = _lock(path, wait=True)
    try:
        yield
    finally:
        _let_go(lock)


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder that exists against other processes; a process that ends, killed or not, lets go of it.

    Args:
        folder: to hold.
        what: another process does with it, such as "is trained".

    Raises:
        UserError: another process holds it.
    """
    try:
        lock = _lock(folder, wait=False)
    except BlockingIOError as error:
        raise UserError(
            f"{folder} {what} by another process now: wait until it ends, or choose another folder."
        ) from error
    try:
        yield
    finally:
        _let_go(lock)


def flush(path: Path) -> None:
    """Force a file, or a folder with all that it holds, to disk, so that a power cut doesn't leave half of it."""
    if path.is_dir() and not path.is_symlink():
        for inside in path.iterdir():
            flush(inside)
    if not path.is_symlink():
        fsync(path)


def fsync(path: Path) -> None:
    """Force a file to disk, or the names that are in a folder, such as one that was just renamed into it."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folder
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing for folders
            raise
    finally:
        os.close(descriptor)


def _named(path: str | os.PathLike) -> Path:
    if not os.fspath(path):
        raise UserError("The output is empty: give the path of a file or a folder.")
    return Path(path)


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} can't be written ({reason(error)}): "
        "choose a folder that you may write to, on a disk with free space."
    )


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """Give a new folder below `parent` that no other process touches, and remove what dead ones left there.

    Raises:
        OSError: it can't be made.
    """
    place = parent / _PLACE
    with _locked_place(place):
        _remove_abandoned(place)
        folder = place / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        lock = _lock(folder, wait=False)
    try:
        yield folder
    finally:
        # What can't be removed must not hide why the body failed; the next one tries again.
        shutil.rmtree(folder, ignore_errors=True)
        _let_go(lock)
        with suppress(OSError), _locked_place(place):
            place.rmdir()  # unless others are in it


@contextmanager
def _locked_place(place: Path) -> Iterator[None]:
    """Let one process at a time make and remove folders in `place`, which is made where it is missing."""
    while True:
        with suppress(FileExistsError):  # not exist_ok: between the two looks that takes, another one may remove it
            place.mkdir(mode=0o700)
        try:
            lock = _lock(place, wait=True)
            found = place.lstat()
        except FileNotFoundError:
            continue  # whoever was in it removed it meanwhile
        if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != _USER):
            raise PermissionError(errno.EPERM, f"{place} belongs to somebody else")
        if lock is None or os.path.samestat(os.fstat(lock), found):
            break
        os.close(lock)
    try:
        yield
    finally:
        _let_go(lock)


def _remove_abandoned(place: Path) -> None:
    for left in place.iterdir():
        with suppress(OSError):
            lock = _lock(left, wait=False)
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def _lock(path: Path, wait: bool) -> int | None:
    """Lock a file or a folder until the descriptor is closed; None where there are no locks.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        FileNotFoundError: it isn't there.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def _let_go(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _swap(new: Path, old: Path) -> None:
    """Exchange two folders; `new` holds the former content afterwards and is removed by the caller.

    Linux does it in one step. Elsewhere the old folder is moved aside first, and back if the rename fails.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        renamed = libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
        if renamed == 0:
            return
    aside = old.with_name(f"former-{uuid.uuid4().hex[:8]}")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)
