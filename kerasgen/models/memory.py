"""How much memory is free, and how people write how much they give."""

import ctypes
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kerasgen.errors import UserError
from kerasgen.keras_hooks import gpu_memory

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_GROUPS = Path("/sys/fs/cgroup")
_UNKNOWN = 4 * 10**9  # of systems that don't tell
# glibc's numbers of what it can be told: how many tensors are mapped by themselves, from which size on, and how much
# may be free at the end of the heap. Afterwards, they are as if it had learned them from large tensors.
_MOST_MAPPED, _LEAST_MAPPED, _MOST_FREE = -4, -3, -1
_REUSE = (_MOST_MAPPED, 0), (_MOST_FREE, 2**30)
_LEARNED = (_MOST_MAPPED, 65536), (_LEAST_MAPPED, 2**25), (_MOST_FREE, 2**26)


def free_memory() -> int:
    """Return the bytes that this process may still take, of the machine, of its container and by its own limit."""
    limits = [_machine(), *_container(), *_process()]
    return max(0, min(limits))


def usable_memory(given: int | None) -> int:
    """Return the bytes to plan a large picture with.

    Args:
        given: by the user; None is half of what is free, on the GPU too if there is one.
    """
    limits = [free_memory() // 2 if given is None else given]
    # Strips lie on the GPU, and what is kept between passes doesn't: what suits the smaller one suits both.
    limits += [free // 2 if given is None else free for free in _gpu()]
    return min(limits)


def give_back() -> None:
    """Return to the system what was freed, where the C library keeps it: glibc keeps hundreds of megabytes.

    It learns from the first large tensor that is freed that such sizes are to be kept for the next one, and strips
    come in many sizes.
    """
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def reused_memory(most: float) -> Iterator[Callable[[], None]]:
    """Let the C library keep what is freed for what is next, up to a size; Linux with glibc only.

    Otherwise it has tensors from 32 MB on from the system, each time anew, and the system takes as long to fill pages
    with zeros as strips take to be computed.

    Args:
        most: bytes beyond what the process has now, from which on what was freed is returned.

    Returns:
        What to call now and then.
    """
    mallopt = _of_c_library("mallopt")
    resident = _resident()
    if mallopt is None or resident is None:
        yield give_back
        return
    for parameter, value in _REUSE:
        mallopt(parameter, value)

    def give_back_beyond() -> None:
        if (_resident() or 0) - resident > most:
            give_back()

    try:
        yield give_back_beyond
    finally:
        for parameter, value in _LEARNED:
            mallopt(parameter, value)
        give_back()


def _resident() -> int | None:
    if sys.platform != "linux":
        return None
    import resource

    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@cache
def _of_c_library(name: str) -> Callable[..., object] | None:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return None


def parse_bytes(text: str) -> int:
    """Return the bytes of "2GB", "800 MB", "1.5GiB" or a plain number.

    Raises:
        UserError: it is something else, or nothing.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text, re.IGNORECASE)
    unit = _UNITS.get(found[2].upper()) if found else None
    size = float(found[1]) * unit if found and unit else 0.0
    if not 1 <= size < math.inf:
        raise UserError(f"The memory {text!r} is not a size: write it as 2GB, 800MB or 1.5GiB.")
    return int(size)


def _machine() -> int:
    if sys.platform == "linux":
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
        return int(found[1]) * 1024 if found else _UNKNOWN
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _UNKNOWN


def _container() -> list[int]:
    try:
        limit, used = ((_GROUPS / name).read_text() for name in ("memory.max", "memory.current"))
        if limit.strip() == "max":
            return []
        # Of what counts as used, files that were read or written are forgotten when somebody needs the room.
        files = re.search(r"^inactive_file (\d+)$", (_GROUPS / "memory.stat").read_text(), re.MULTILINE)
        return [int(limit) - int(used) + (int(files[1]) if files else 0)]
    except OSError:
        return []


def _gpu() -> list[int]:
    """Return what TensorFlow may still take of the GPU on which it computes, if there is one."""
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return []
    return [gpu_memory() - tf.config.experimental.get_memory_info("GPU:0")["current"]]


def _process() -> list[int]:
    if sys.platform != "linux":
        return []
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return [] if limit == resource.RLIM_INFINITY else [limit - pages * resource.getpagesize()]
