"""How much memory is free, and how people write how much they give."""

import os
import re
import sys
from pathlib import Path

from kerasgen.errors import UserError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_MACHINE = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")
# Limit, use and parts of the use of a container, by the second version of control groups, and by the first.
_CONTAINERS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
_UNKNOWN = 4 * 10**9  # of systems that don't tell


def free_memory() -> int:
    """Return the bytes that this process may still take, of the machine, of its container and by its own limit."""
    limits = [_machine(), *_container(), *_process()]
    return max(0, min(limits))


def parse_bytes(text: str) -> int:
    """Return the bytes of "2GB", "800 MB", "1.5GiB" or a plain number.

    Raises:
        UserError: it is something else, or nothing.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text, re.IGNORECASE)
    unit = _UNITS.get(found[2].upper()) if found else None
    size = float(found[1]) * unit if found and unit else 0.0
    if not 1 <= size < float("inf"):
        raise UserError(f"The memory {text!r} is not a size: write it as 2GB, 800MB or 1.5GiB.")
    return int(size)


def _machine() -> int:
    if sys.platform == "linux":
        found = _number(_MACHINE, r"MemAvailable:\s*(\d+) kB")
        return _UNKNOWN if found is None else found * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _UNKNOWN


def _container() -> list[int]:
    for names in _CONTAINERS:
        limit, used, parts = (_GROUPS / name for name in names)
        most, now = _number(limit, r"(\d+)"), _number(used, r"(\d+)")  # "max" is not a number
        if most is not None and now is not None:
            # Of what counts as used, files that were read or written are forgotten when somebody needs the room.
            return [most - now + (_number(parts, r"(?:total_)?inactive_file (\d+)") or 0)]
    return []


def _process() -> list[int]:
    if sys.platform != "linux":
        return []
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return [] if limit == resource.RLIM_INFINITY else [limit - pages * resource.getpagesize()]


def _number(file: Path, line: str) -> int | None:
    """Return the number in the last line of a file that is written so; None where there is none."""
    try:
        found = re.findall(rf"^{line}$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[-1]) if found else None
