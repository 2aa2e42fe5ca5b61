"""Atomic writes: what is there afterwards, whatever happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kerasgen.errors import UserError
from kerasgen.files import atomic_write, held, scratch


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


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_folder_gets_a_sentence(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path]).returncode:
        pytest.skip("this machine doesn't let its root mount a tmpfs")
    try:
        with pytest.raises(UserError, match="Read-only file system"), atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_longest_name_that_the_disk_takes_is_written(tmp_path):
    for name in ("n" * 255, "ü" * 127):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("new")
        assert (tmp_path / name).read_text() == "new"
    with pytest.raises(UserError, match="File name too long"), atomic_write(tmp_path / ("n" * 256)) as temporary:
        temporary.write_text("new")
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_path_gets_a_sentence():
    with pytest.raises(UserError, match="is empty"), atomic_write("") as temporary:
        temporary.write_text("new")


WRITER = """
import sys, time
from kerasgen.files import atomic_write, scratch
with scratch() as other, atomic_write(sys.argv[1]) as temporary:
    if sys.argv[2] == "folder":
        temporary.mkdir()
        temporary = temporary / "inside"
    temporary.write_text("half")
    (other / "left").write_text("half")
    print(other, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """Starts a process in the midst of writing tmp_path/out/a; gives it and its folder for what is temporary."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "system"))
    monkeypatch.setattr("tempfile.tempdir", None)  # it is read anew
    (tmp_path / "system").mkdir()
    (tmp_path / "out").mkdir()
    started = []

    def start(kind: str) -> tuple[subprocess.Popen, Path]:
        command = [sys.executable, "-c", WRITER, tmp_path / "out" / "a", kind]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1], Path(started[-1].stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_removes_what_a_killed_one_left_and_nothing_else(tmp_path, writer, kind):
    foreign = tmp_path / "out" / ".tmp-foreign"
    foreign.mkdir()
    (foreign / "a").write_text("foreign")
    killed, left = writer(kind)
    alive, living = writer(kind)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with scratch(), atomic_write(tmp_path / "out" / "b") as temporary:
        temporary.write_text("new")
    assert not left.exists()
    assert (living / "left").read_text() == "half"
    places = list((tmp_path / "out").glob(".kerasgen-tmp-*/*"))
    assert [p.name.split("-")[0] for p in places] == [str(alive.pid)]
    alive.kill()
    alive.wait()
    with scratch(), atomic_write(tmp_path / "out" / "b") as temporary:
        temporary.write_text("newer")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".tmp-foreign", "b"]
    assert (foreign / "a").read_text() == "foreign"
    assert not list((tmp_path / "system").iterdir())


HOLDER = """
import sys, time
from pathlib import Path
from kerasgen.files import held
with held(Path(sys.argv[1]), "is trained"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_until_its_process_ends(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="is trained by another process now"), held(tmp_path, "is trained"):
            pass
        process.kill()
    with held(tmp_path, "is trained"):
        assert not list(tmp_path.iterdir())


def test_many_writers_of_one_folder_do_not_disturb_each_other(tmp_path):
    code = (
        "import sys\nfrom kerasgen.files import atomic_write\n"
        "for i in range(100):\n    with atomic_write(f'{sys.argv[1]}/{i}') as t: t.write_text('x' * 1000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(4)]
    assert [w.wait() for w in writers] == [0] * 4
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(map(str, range(100)))
    assert all(p.stat().st_size == 1000 for p in tmp_path.iterdir())
