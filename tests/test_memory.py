"""What is free, read off files as the kernel writes them, and sizes as people write them."""

import subprocess
import sys

import pytest

from kerasgen import memory
from kerasgen.errors import UserError

MIB = 2**20


@pytest.mark.parametrize(
    ("folder", "names", "stat"),
    [
        ("", ("memory.max", "memory.current"), f"anon 5\ninactive_anon 7\ninactive_file {20 * MIB}\n"),
        (
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            f"cache 5\ninactive_file 7\ntotal_inactive_file {20 * MIB}\n",
        ),
    ],
)
def test_a_container_may_take_its_limit_less_what_it_uses(folder, names, stat, tmp_path, monkeypatch):
    """Files that were read count as used, but are forgotten when somebody needs the room."""
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in zip((*names, "memory.stat"), (f"{100 * MIB}\n", f"{70 * MIB}\n", stat), strict=True):
        (tmp_path / folder / name).write_text(text)
    assert memory.free_memory() == 50 * MIB
    (tmp_path / folder / names[0]).write_text("max\n")
    assert memory.free_memory() > 100 * MIB


def test_a_process_may_take_its_own_limit():
    code = (
        "import resource\nfrom kerasgen.memory import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))\nprint(free_memory())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 2**26 < int(said) < 2**29


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GB", 2 * 10**9), ("800 MB", 8 * 10**8), ("1.5GiB", 3 * 2**29), ("12", 12), ("4k", 4000), ("2g", 2 * 10**9)],
)
def test_sizes_as_people_write_them(text, expected):
    assert memory.parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "2 GB of it", "-1GB", "0", "1e9", "9" * 400 + "GB"])
def test_what_is_not_a_size_is_a_sentence(text):
    with pytest.raises(UserError, match="is not a size: write it as 2GB, 800MB"):
        memory.parse_bytes(text)
