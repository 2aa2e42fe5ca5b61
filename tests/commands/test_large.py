"""Pictures that don't fit in memory: equal files, bounded memory, nothing left behind."""

import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.commands.translate import translate_folder
from kerasgen.data.deep import write_deep
from kerasgen.data.reading import read_picture
from kerasgen.data.sources.source import Fit
from kerasgen.errors import UserError
from kerasgen.models.translation import translate_images, whole_memory
from kerasgen.networks import resnet_generator

SPREAD = 10  # of the kernels, so that a picture becomes something with contrast
CHINA = Image.fromarray(load_sample_image("china.jpg")).resize((197, 163))


def generator(channels: int = 3, norm: str = "batch"):
    keras.utils.set_random_seed(0)
    network = resnet_generator(channels, filters=4, blocks=1, norm=norm)
    for variable in network.trainable_variables:
        if variable.path.endswith("kernel"):
            variable.assign(SPREAD * variable)
    return network


def enough_for_strips(network) -> int:
    return int(whole_memory(network, 163, 197) * 0.9)


def test_python_gives_the_same_numbers_whatever_the_memory():
    network = generator(norm="instance")
    images = np.stack([np.asarray(CHINA, "float32") / 127.5 - 1] * 2)
    images[1] *= 0.5
    whole = translate_images(network, images)
    strips = translate_images(network, images, memory=enough_for_strips(network) // 2)
    assert whole.shape == strips.shape == images.shape
    assert whole.std() > 0.1
    # The whole adds up a picture in float32, which is off by 2e-6 of the spread here; weights of 0.4 amplify it.
    np.testing.assert_allclose(strips, whole, atol=5e-4)


@pytest.mark.parametrize("kind", ["png", "jpg", "deep.png", "tif", "npy", "gray.png"])
def test_a_file_is_the_same_whatever_the_memory(tmp_path, kind):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"china.{kind}"
    gray = kind in ("gray.png", "deep.png")
    picture = np.asarray(CHINA.convert("L"))[..., None] if gray else np.asarray(CHINA)
    if kind in ("deep.png", "tif", "npy"):
        write_deep(path, picture / 255 * 0.9, np.dtype("uint16"), None)
    else:
        CHINA.convert("L" if gray else "RGB").save(path)
    network = generator(picture.shape[-1])
    found = []
    for number, memory in enumerate((None, enough_for_strips(network))):
        (written,) = translate_folder(network, tmp_path / "in", tmp_path / f"out{number}", memory=memory).written
        assert [p.name for p in written.parent.iterdir() if not p.name.startswith(".")] == [written.name]
        found.append(read_picture(written, Fit("natural"), picture.shape[-1]).astype("float64"))
    scale = 255 if found[0].max() > 1 else 1
    assert found[0].shape == (163, 197, picture.shape[-1])
    assert found[0].std() / scale > 0.03
    difference = np.abs(found[0] - found[1]) * 255 / scale
    assert difference.max() <= (1 if scale == 255 else 0.01)
    assert (difference > 0.01).mean() <= 1e-4


def test_a_picture_for_which_not_even_strips_have_memory_is_skipped(tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "large.png")
    CHINA.resize((8, 8)).save(tmp_path / "in" / "small.png")
    network = generator()
    with pytest.warns(UserWarning, match=r"large\.png is skipped, because .* give \d+ MB at least, or shrink it"):
        result = translate_folder(network, tmp_path / "in", tmp_path / "out", memory=150_000)
    assert [p.name for p in result.written] == ["small.png"]


def test_the_command_line_takes_the_memory(kerasgen, tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "china.png")
    generator().save(tmp_path / "generator.keras")
    arguments = ["translate", tmp_path / "generator.keras", "--input", tmp_path / "in", "--output"]
    code, output, _ = kerasgen(*arguments, tmp_path / "out", "--memory", "1.5MB")
    assert code == 0
    assert "1 picture is in" in output
    code, _, errors = kerasgen(*arguments, tmp_path / "out", "--memory", "much")
    assert code != 0
    assert "The memory 'much' is not a size: write it as 2GB, 800MB or 1.5GiB." in errors


def test_a_deep_picture_that_lies_on_its_side_is_turned_before_strips_too(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "china.png"
    write_deep(path, np.asarray(CHINA.convert("L"))[..., None] / 255 * 0.9, np.dtype("uint16"), None)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk + content[33:])
    network, found = generator(1), []
    for number, memory in enumerate((None, enough_for_strips(network))):
        (written,) = translate_folder(network, tmp_path / "in", tmp_path / f"out{number}", memory=memory).written
        found.append(read_picture(written, Fit("natural"), 1))
    assert found[0].shape == found[1].shape == (197, 163, 1)
    assert found[0].std() > 0.03
    assert np.abs(found[0] - found[1]).max() < 0.01


@pytest.mark.parametrize("deep", [False, True])
def test_what_a_png_cannot_hold_becomes_npy_whatever_the_memory(tmp_path, deep):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "china.png"
    if deep:
        write_deep(path, np.asarray(CHINA) / 255, np.dtype("uint16"), None)
    else:
        CHINA.save(path)
    network = resnet_generator(3, 5, filters=4, blocks=1)
    found = []
    for number, memory in enumerate((None, enough_for_strips(network))):
        output = tmp_path / f"out{number}"
        assert translate_folder(network, tmp_path / "in", output, memory=memory).written == (output / "china.npy",)
        found.append(np.load(output / "china.npy"))
    assert found[0].shape == found[1].shape == (163, 197, 5)
    assert found[0].dtype == found[1].dtype == ("uint16" if deep else "float32")
    assert np.abs(found[0].astype("float64") - found[1]).max() <= (8 if deep else 1e-4)


def test_a_log_says_how_far_the_strips_are(capsys, monkeypatch):
    monkeypatch.setattr("kerasgen.models.strips._QUIET", 0.0)
    picture = np.zeros((163, 197, 3), "float32")
    translate_images(network := generator(), picture, memory=10**9)
    assert "strips" not in capsys.readouterr().out
    translate_images(network, picture, memory=enough_for_strips(network) // 2)
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r"strips \d+/\d+", line)]
    done, of = zip(*(map(int, line.split()[1].split("/")) for line in lines), strict=True)
    assert list(done) == list(range(1, of[0] + 1))


def test_the_disk_is_said_first_and_a_full_one_is_one_sentence(tmp_path, capsys):
    resource = pytest.importorskip("resource")
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "china.png")
    network, out = generator(), tmp_path / "out"
    memory = enough_for_strips(network)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # a file can't become larger, as on a full disk
    try:
        with pytest.raises(UserError, match=r"A temporary file of .* can't be written to .*: make room there"):
            translate_folder(network, tmp_path / "in", out, memory=memory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "1 MB of" in capsys.readouterr().out
    assert not out.exists()


LARGE = """
import sys
import numpy as np
from pathlib import Path
from kerasgen.commands.translate import translate_folder
from kerasgen.models.translation import translate_images
from kerasgen.networks import resnet_generator

generator = resnet_generator(filters=16, blocks=2)
picture = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3)).astype("float32")
translate_images(generator, picture)
translate_images(generator, picture, memory=2 * 10**6)
source, output, memory = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
"""
TRANSLATE = "translate_folder(generator, source, output, memory=memory)"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak memory so")
@pytest.mark.parametrize("share", [1.01, 0.15])  # of what the whole is reckoned to take: it just fits, or it doesn't
def test_the_peak_is_bounded_by_the_memory_given(tmp_path, memory_taken, share):
    (tmp_path / "in").mkdir()
    CHINA.resize((1200, 900)).save(tmp_path / "in" / "china.png")
    memory = int(share * whole_memory(resnet_generator(filters=16, blocks=2), 900, 1200))
    taken = memory_taken(LARGE, TRANSLATE, str(tmp_path / "in"), str(tmp_path / "out"), str(memory))
    assert taken < 1.1 * memory


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_leaves_no_half_picture_and_the_next_run_removes_the_rest(tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.resize((1600, 1200)).save(tmp_path / "in" / "china.png")
    out = tmp_path / "out"
    code = [sys.executable, "-c", LARGE + TRANSLATE, str(tmp_path / "in"), str(out), str(6 * 10**7)]
    process = subprocess.Popen(code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.rglob("china.png")):  # the file that grows
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "china.png").exists()
    left = [p for p in out.rglob("*") if p.is_file() and p.stat().st_size]
    assert [p.name for p in left] in ([], ["china.png"])  # kept maps never had a name
    CHINA.resize((16, 12)).save(tmp_path / "in" / "china.png")
    translate_folder(generator(), tmp_path / "in", out)
    assert [p for p in out.rglob("*") if p.is_file()] == [out / "china.png"]
    assert os.path.getsize(out / "china.png") > 0
