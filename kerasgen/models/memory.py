"""What memory a large picture may take, and what was freed is kept for the next strip."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kerasgen.keras_hooks import gpu_memory
from kerasgen.memory import free_memory

# glibc's numbers of what it can be told: how many tensors are mapped by themselves, from which size on, and how much
# may be free at the end of the heap. Afterwards, they are as if it had learned them from large tensors.
_MOST_MAPPED, _LEAST_MAPPED, _MOST_FREE = -4, -3, -1
_REUSE = (_MOST_MAPPED, 0), (_MOST_FREE, 2**30)
_LEARNED = (_MOST_MAPPED, 65536), (_LEAST_MAPPED, 2**25), (_MOST_FREE, 2**26)


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


def _gpu() -> list[int]:
    """Return what TensorFlow may still take of the GPU on which it computes, if there is one."""
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return []
    return [gpu_memory() - tf.config.experimental.get_memory_info("GPU:0")["current"]]
