"""Kernels of a shared library for one kind of card: the others' are blanked, so that the library packs small.

CUDA programs hold their kernels once for each compute capability, in "fat binaries": a head of 16 bytes (magic,
version, the head's size, the size of what follows), and behind it entries, each with a head that says its kind (PTX
or machine code), its size and its capability. The format is not documented; this is how CUDA 12 writes it.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC = struct.pack("<I", 0xBA55ED50)
_HEAD, _ENTRY = struct.Struct("<IHHQ"), struct.Struct("<HHIQIIHHI")


def keep_capability(library: Path, capability: int) -> int:
    """Blank all kernels of a library but those of one capability, in place, and return how many bytes that were.

    The library keeps its layout, so the driver finds the rest where it was.

    Args:
        library: a file that is changed.
        capability: 90 for 9.0. PTX of it is kept as well as machine code.
    """
    blanked = 0
    with library.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        for start, size, of in _kernels(content):
            if of != capability:
                content[start : start + size] = bytes(size)
                blanked += size
    return blanked


def _kernels(content: mmap.mmap) -> Iterator[tuple[int, int, int]]:
    """Where each kernel's code begins, its bytes, and its capability."""
    at = 0
    while (at := content.find(_MAGIC, at)) >= 0:
        if at + _HEAD.size > len(content):
            return
        _, version, head, size = _HEAD.unpack_from(content, at)
        if (version, head) != (1, _HEAD.size) or at + head + size > len(content):
            at += len(_MAGIC)  # other bytes that happen to look so
            continue
        entry, at = at + head, at + head + size
        while entry + _ENTRY.size <= at:
            _, _, head, size, _, _, _, _, capability = _ENTRY.unpack_from(content, entry)
            yield entry + head, size, capability
            entry += head + size
