"""Atomic writes: what is there afterwards, whatever happened."""

import os
import subprocess

import pytest

from kerasgen.errors import UserError
from kerasgen.files import atomic_write


def test_a_file_replaces_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]


def test_a_folder_replaces_a_folder(tmp_path):
    for content in ("old", "new"):
        with atomic_write(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")

    def fail():
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_path_below_a_file_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"), atomic_write(tmp_path / "file" / "a.txt") as temporary:
        temporary.write_text("new")


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk is made with a small tmpfs, which needs root")
def test_a_full_disk_leaves_what_was_there(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path]).returncode:
        pytest.skip("this machine doesn't let its root mount a tmpfs")
    try:
        (tmp_path / "a.bin").write_bytes(b"old")
        with pytest.raises(UserError, match="No space left"), atomic_write(tmp_path / "a.bin") as temporary:
            temporary.write_bytes(bytes(200_000))
        assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)
