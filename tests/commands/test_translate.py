"""Folders through generators: real photographs in every form that users have."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.commands.conditions import without_condition
from kerasgen.commands.translate import translate_folder
from kerasgen.errors import UserError
from kerasgen.models import CycleGAN, PairedTranslator
from kerasgen.networks.patchgan import patchgan
from kerasgen.networks.resnet import resnet_generator
from kerasgen.networks.unet import unet_generator
from kerasgen.runs import load_model

# Neither side is divisible by 4, as the generators need.
CHINA = Image.fromarray(load_sample_image("china.jpg")).resize((97, 63))
GRAY = CHINA.convert("L")
SMALL = {"filters": 4, "blocks": 1}


def small_cyclegan(channels: int = 3) -> CycleGAN:
    """Random weights, large enough that the translation isn't one even gray."""
    options = {"filters": 4, "downsamplings": 1}
    model = CycleGAN(16, channels, generator_options=SMALL, discriminator_options=options)
    for network in (model.generator_a2b, model.generator_b2a):
        network.set_weights([20 * w for w in network.get_weights()])
    return model


def uint8(images) -> np.ndarray:
    return np.round((np.asarray(images) + 1) * 127.5).astype(np.uint8)


def opened(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def differences(a, b) -> int:
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max()


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_a_folder_is_translated_as_the_model_translates_the_pixels(tmp_path, direction):
    (tmp_path / "in" / "sub.folder").mkdir(parents=True)
    CHINA.save(tmp_path / "in" / "china.PNG")
    upper = CHINA.crop((0, 0, 50, 31))
    upper.save(tmp_path / "in" / "sub.folder" / "upper.half.bmp")
    model = small_cyclegan()
    result = translate_folder(model, tmp_path / "in", tmp_path / "out", direction)
    expected = {"china.png": CHINA, "sub.folder/upper.half.png": upper}
    assert {p.relative_to(tmp_path / "out").as_posix() for p in result.written} == set(expected)
    assert {p for p in (tmp_path / "out").rglob("*") if p.is_file()} == set(result.written)
    assert result.skipped == ()
    one = translate_folder(model, tmp_path / "in" / "china.PNG", tmp_path / "one", direction)  # a picture alone
    assert one.written == (tmp_path / "one" / "china.png",)
    np.testing.assert_array_equal(opened(one.written[0]), opened(tmp_path / "out" / "china.png"))
    for name, image in expected.items():
        pixels = np.asarray(image, np.float32) / 127.5 - 1
        found, wanted = opened(tmp_path / "out" / name), uint8(model.translate(pixels, direction))
        assert wanted.std() > 10
        assert differences(found, wanted) <= 1  # the rounding of a half


FORMS = {
    "gray.png": (GRAY, GRAY),
    "palette.png": (CHINA.quantize(64), CHINA.quantize(64).convert("RGB")),
    "lossless.webp": (CHINA, CHINA),
    "opaque.png": (CHINA.convert("RGBA"), CHINA),
    "transparent.png": (Image.merge("RGBA", [*CHINA.split(), Image.new("L", CHINA.size)]), "white"),
    "sideways.png": (CHINA.transpose(Image.Transpose.ROTATE_90), CHINA),
}


@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_of_picture_is_read(tmp_path, channels):
    (tmp_path / "in").mkdir()
    sideways = Image.Exif()
    sideways[0x0112] = 6  # the camera was held upright: turn by 90° clockwise to look at it
    for name, (image, _) in FORMS.items():
        exif = {"exif": sideways} if name == "sideways.png" else {}
        image.save(tmp_path / "in" / name, lossless=True, **exif)
    model, mode = small_cyclegan(channels), "L" if channels == 1 else "RGB"
    translate_folder(model, tmp_path / "in", tmp_path / "out")
    for name, (_, seen) in FORMS.items():
        seen = Image.new("RGB", CHINA.size, "white") if seen == "white" else seen
        pixels = np.asarray(seen.convert(mode), np.float32).reshape(*CHINA.size[::-1], channels)
        wanted = np.broadcast_to(uint8(model.translate(pixels / 127.5 - 1)), (*CHINA.size[::-1], 3))
        found = opened((tmp_path / "out" / name).with_suffix(".png"))
        assert differences(found, wanted) <= 1, name


def test_a_jpeg_is_read(tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "a.jpeg", quality=95)
    with Image.open(tmp_path / "in" / "a.jpeg") as image:
        pixels = np.asarray(image, np.float32) / 127.5 - 1
    model = small_cyclegan()
    translate_folder(model, tmp_path / "in", tmp_path / "out")
    assert differences(opened(tmp_path / "out" / "a.png"), uint8(model.translate(pixels))) <= 1


def test_a_generator_alone_keeps_the_size_that_it_cannot_divide(tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "a.png")
    generator = unet_generator(3, filters=4, downsamplings=6)
    translate_folder(generator, tmp_path / "in", tmp_path / "out")
    assert opened(tmp_path / "out" / "a.png").shape == (63, 97, 3)


def test_a_corrupt_file_is_named_and_skipped(tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "whole.png")
    whole = (tmp_path / "in" / "whole.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 3])
    with pytest.warns(UserWarning, match=r"cut\.png can't be read as a picture .* It is skipped"):
        result = translate_folder(small_cyclegan(), tmp_path / "in", tmp_path / "out")
    assert [p.name for p in result.written] == ["whole.png"]
    assert [p.name for p in result.skipped] == ["cut.png"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole.png"]


def test_a_picture_too_large_to_open_safely_is_skipped(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("1", (14000, 14000)).save(tmp_path / "in" / "large.png")
    CHINA.crop((0, 0, 20, 20)).save(tmp_path / "in" / "small.png")
    with pytest.warns(UserWarning, match=r"large\.png can't be read as a picture"):
        result = translate_folder(small_cyclegan(), tmp_path / "in", tmp_path / "out")
    assert [p.name for p in result.written] == ["small.png"]


STARVED = """
import resource
import sys
from pathlib import Path
from PIL import Image
from kerasgen.networks.resnet import resnet_generator
from kerasgen.commands.conditions import without_condition
from kerasgen.commands.translate import translate_folder

source, output = Path(sys.argv[1]), Path(sys.argv[2])
generator = resnet_generator(3, blocks=1)
translate_folder(generator, source, output / "before")
with Image.open(source / "b.png") as image:
    image.resize((1600, 1200)).save(source / "a.png")
    image.save(source / "c.png")  # as large as b.png, whose memory TensorFlow may keep
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
# Enough for a layer, not for those that must be there at once: then TensorFlow's kernels would end the process.
resource.setrlimit(resource.RLIMIT_AS, (used + 18 * 10**8, used + 18 * 10**8))
translate_folder(generator, source, output / "after")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit a process's memory so")
def test_a_picture_too_large_for_the_memory_goes_by_strips(tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "b.png")
    command = [sys.executable, "-c", STARVED, tmp_path / "in", tmp_path / "out"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    assert sorted(p.name for p in (tmp_path / "out" / "after").iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_second_run_replaces_the_first(tmp_path):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "a.png")
    model = small_cyclegan()
    translate_folder(model, tmp_path / "in", tmp_path / "out")
    first = opened(tmp_path / "out" / "a.png")
    translate_folder(model, tmp_path / "in", tmp_path / "out", "b2a")
    assert differences(opened(tmp_path / "out" / "a.png"), first) > 1


def test_mistakes_with_folders(tmp_path):
    model = small_cyclegan()
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="There is no folder"):
        translate_folder(model, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UserError, match="There is no folder"):
        translate_folder(model, "n" * 300, tmp_path / "out")
    with pytest.raises(UserError, match="/dev/null is neither a folder nor a picture's file: give the folder"):
        translate_folder(model, "/dev/null", tmp_path / "out")
    with pytest.raises(UserError, match="holds no readable picture"):
        translate_folder(model, tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "a.png").write_bytes(b"no picture")
    for inside in (tmp_path / "in", tmp_path / "in" / "out", tmp_path / "in" / ".." / "in"):
        with pytest.raises(UserError, match="choose one outside"):
            translate_folder(model, tmp_path / "in", inside)
    with pytest.warns(UserWarning, match="1 of 1 files are left out"), pytest.raises(UserError, match="no readable"):
        translate_folder(model, tmp_path / "in", tmp_path / "out")
    CHINA.save(tmp_path / "in" / "cut.jpg")
    (tmp_path / "in" / "cut.jpg").write_bytes((tmp_path / "in" / "cut.jpg").read_bytes()[:1500])
    (tmp_path / "in" / "a.png").unlink()
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(UserError, match="None of the 1 pictures"):
        translate_folder(model, tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "cut.jpg").unlink()
    CHINA.save(tmp_path / "in" / "a.jpg")
    CHINA.save(tmp_path / "in" / "a.png")
    with pytest.raises(UserError, match=r"a\.jpg and .*a\.png would both become .*a\.png: rename"):
        translate_folder(model, tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "a.png").unlink()
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        translate_folder(model, tmp_path / "in", tmp_path / "file")


def test_a_generator_of_one_size_takes_pictures_of_any(tmp_path):
    """As Keras' own tutorials make them; each picture keeps its proportions, and one of that size its pixels."""
    inputs = keras.Input((16, 24, 3))
    x = keras.layers.Conv2D(3, 3, padding="same", activation="tanh")(inputs)
    keras.Model(inputs, keras.layers.UpSampling2D(2)(x), name="(fixed) one").save(tmp_path / "generator.keras")
    generator = load_model(tmp_path / "generator.keras")  # its name is not one that TensorFlow's graphs take
    for name, size in (("wide", (60, 20)), ("own", (24, 16))):
        (tmp_path / "in").mkdir(exist_ok=True)
        CHINA.resize(size).save(tmp_path / "in" / f"{name}.png")
    with pytest.warns(UserWarning, match="'x_fixed__one' takes pictures of 24×16 pixels alone: each is stretched"):
        translate_folder(generator, tmp_path / "in", tmp_path / "out")
    found = {path.stem: np.asarray(Image.open(path), np.float32) for path in (tmp_path / "out").iterdir()}
    assert found["own"].shape == (32, 48, 3)
    own = np.asarray(Image.open(tmp_path / "in" / "own.png"), np.float32)
    answer = np.asarray(generator(own[None] / 127.5 - 1))[0]
    np.testing.assert_allclose(found["own"], answer * 127.5 + 127.5, atol=0.51)
    small = Image.open(tmp_path / "in" / "wide.png").resize((24, 16), Image.Resampling.BICUBIC)
    answer = np.asarray(generator(np.asarray(small, np.float32)[None] / 127.5 - 1))[0]
    levels = Image.fromarray(np.rint(answer * 127.5 + 127.5).astype(np.uint8))
    expected = np.asarray(levels.resize((120, 40), Image.Resampling.BICUBIC), np.float32)
    assert found["wide"].shape == (40, 120, 3)
    assert np.abs(found["wide"] - expected).mean() < 1


def test_mistakes_with_models(tmp_path, small_vae):
    (tmp_path / "in").mkdir()
    CHINA.save(tmp_path / "in" / "a.png")
    for model, direction, message in (
        (small_cyclegan(), "a2c", "direction='a2c' is unknown"),
        (small_vae(), "a2b", "is a VAE, which can't translate a2b"),
        (resnet_generator(3, **SMALL), "b2a", "one direction only"),
        (patchgan(3, filters=4), "a2b", "not a discriminator"),
        (small_vae().decoder, "a2b", "takes inputs of the shape"),
    ):
        with pytest.raises(UserError, match=message):
            translate_folder(model, tmp_path / "in", tmp_path / "out", direction)
    assert not (tmp_path / "out").exists()


def test_a_condition_is_told_in_words():
    data = {"source_a": "openmoji_lines", "source_b": "openmoji", "condition": ["tone"], "unknown": 0.1}
    model = PairedTranslator("colorizer", generator_options={"channels": 5, "filters": [8, 8]})
    generator = model.generator_a2b
    generator.set_weights([3 * w for w in generator.get_weights()])
    image = np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3)).astype("float32")
    for given, numbers in (([], (0, 0)), (["tone=none"], (0, -1)), (["tone=medium_dark"], (0.5, 1))):
        planes = np.broadcast_to(np.float32(numbers), (1, 16, 16, 2))
        expected = model.translate(np.concatenate([image, planes], -1))
        np.testing.assert_allclose(without_condition(model, data, given)(image), expected, atol=1e-5)
    for given, words in (
        (["tone=purple"], "The condition tone is 'purple': choose one of none, light, medium_light"),
        (["hat=red"], "The condition 'hat' is not one of this model's: it takes tone."),
        (["dark"], "The condition is 'dark': write NAME=WORD"),
        (["tone=dark", "tone=light"], "The condition 'tone' is given twice, as dark and as light"),
    ):
        with pytest.raises(UserError, match=words):
            without_condition(model, data, given)
    with pytest.raises(UserError, match="needs to be told tone: give --condition tone=WORD, one of none"):
        without_condition(model, data | {"unknown": 0.0})
    with pytest.raises(UserError, match="'folder:a', which has no words for it"):
        without_condition(model, {"source_a": "folder:a", "condition": "label"})
    plain = small_cyclegan()
    assert without_condition(plain, None) is plain
    with pytest.raises(UserError, match="it takes none"):
        without_condition(plain, {}, ["tone=dark"])
