"""Pictures as they are: 16 bits, floats and many channels, against what tifffile, NumPy and Pillow wrote."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.data import load, open_source
from kerasgen.data.deep import write_deep
from kerasgen.data.reading import PictureError, read_head, read_picture
from kerasgen.data.sources.source import Fit
from kerasgen.data.targets import targets
from kerasgen.errors import UserError

AS_IS = Fit("natural", (1, 1))
# A real picture's shape with 16 real bits: its 8 bits, and what two other channels say below them.
CHINA = load_sample_image("china.jpg")[100:140, 200:260].astype(np.uint16)
GRAY = CHINA[..., 0] * 256 + CHINA[..., 1]
COLOR = CHINA * 256 + CHINA[..., ::-1]


def png16(path: Path, pixels: np.ndarray, kind: int) -> None:
    """A 16-bit PNG, written by hand as the standard says."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def written(path: Path, name: str) -> np.ndarray:
    """Write one of the deep pictures, and return it in [0, 1]."""
    if name == "gray.png":
        png16(path, GRAY, 0)
        return GRAY[..., None] / 65535
    if name == "color.png":
        png16(path, COLOR, 2)
        return COLOR / 65535
    if name == "gray.tif":
        tifffile.imwrite(path, GRAY)
        return GRAY[..., None] / 65535
    if name == "lzw.tif":
        Image.fromarray(GRAY).save(path, compression="tiff_lzw")
        return GRAY[..., None] / 65535
    if name == "color.tif":
        tifffile.imwrite(path, COLOR, photometric="rgb", compression="zlib")
        return COLOR / 65535
    if name == "planes.tif":
        tifffile.imwrite(path, np.moveaxis(COLOR, -1, 0), photometric="rgb", planarconfig="separate")
        return COLOR / 65535
    if name == "white_is_zero.tif":
        tifffile.imwrite(path, 65535 - GRAY, photometric="miniswhite")
        return GRAY[..., None] / 65535
    np.save(path, GRAY)
    return GRAY[..., None] / 65535


FILES = ["gray.png", "color.png", "gray.tif", "lzw.tif", "color.tif", "planes.tif", "white_is_zero.tif", "gray.npy"]


@pytest.mark.parametrize("name", FILES)
def test_sixteen_bits_are_read_at_their_depth(tmp_path, name):
    expected = written(tmp_path / name, name)
    head = read_head(tmp_path / name)
    assert (head.height, head.width, head.dtype, head.known_range) == (40, 60, "uint16", True)
    picture = read_picture(tmp_path / name, AS_IS, expected.shape[-1])
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture, expected, atol=2**-20)
    other = read_picture(tmp_path / name, AS_IS, 4 - expected.shape[-1])  # gray as RGB, RGB as gray
    luma = expected.mean(-1) if expected.shape[-1] == 1 else expected @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(other.mean(-1), luma, atol=2**-20)


@pytest.mark.parametrize("name", ["gray.png", "color.png", "gray.tif", "color.tif", "gray.npy"])
def test_what_is_written_is_what_was_read(tmp_path, name):
    expected = written(tmp_path / name, name)
    write_deep(
        tmp_path / f"again_{name}", read_picture(tmp_path / name, AS_IS, expected.shape[-1]), np.dtype(np.uint16)
    )
    np.testing.assert_allclose(
        read_picture(tmp_path / f"again_{name}", AS_IS, expected.shape[-1]), expected, atol=2**-20
    )
    if name.endswith(".tif"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"again_{name}"), GRAY if "gray" in name else COLOR)


def test_deep_pictures_are_fitted_without_losing_depth(tmp_path):
    png16(tmp_path / "a.png", GRAY, 0)
    image = Image.fromarray((GRAY / 65535).astype(np.float32))
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC, (10, 0, 50, 40)))
    np.testing.assert_allclose(read_picture(tmp_path / "a.png", Fit("cut", (16, 16)), 1)[..., 0], expected, atol=1e-6)


def test_transparent_16_bit_pictures_lie_on_white(tmp_path):
    alpha = np.zeros_like(GRAY)
    alpha[:, :30] = 65535
    png16(tmp_path / "a.png", np.dstack([COLOR, alpha]), 6)
    found = read_picture(tmp_path / "a.png", AS_IS, 3)
    np.testing.assert_allclose(found[:, :30], COLOR[:, :30] / 65535, atol=2**-20)
    assert found[:, 30:].min() == 1.0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_are_turned_upright(tmp_path, orientation):
    tifffile.imwrite(tmp_path / "a.tif", GRAY, extratags=[(274, "H", 1, orientation, True)])
    upright = Image.fromarray(np.zeros((40, 60), np.uint8))
    exif = upright.getexif()
    exif[0x0112] = orientation
    order = Image.fromarray(np.arange(2400, dtype=np.int32).reshape(40, 60))
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)
    places = np.asarray(order if turn is None else order.transpose(turn))
    found = read_picture(tmp_path / "a.tif", AS_IS, 1)[..., 0]
    np.testing.assert_allclose(found, (GRAY / 65535).ravel()[places], atol=2**-20)
    assert (read_head(tmp_path / "a.tif").height, read_head(tmp_path / "a.tif").width) == places.shape


def test_floats_have_a_range_that_is_said_or_measured(tmp_path):
    for i in range(20):
        tifffile.imwrite(tmp_path / f"{i}.tif", (GRAY / 65535 * 50 + i).astype(np.float32))
    said = open_source(f"folder:{tmp_path}?range=-10..90", "train", 40)
    first = tifffile.imread(tmp_path / f"{said.names[0]}.tif")[:, 10:50]
    np.testing.assert_allclose(said.example(np.int64(0))["image"][..., 0], (first + 10) / 100, atol=1e-6)
    measured = open_source(f"folder:{tmp_path}", "train", 40)
    all_of = np.stack([tifffile.imread(tmp_path / f"{name}.tif") for name in measured.names])
    expected = (first - all_of.min()) / (all_of.max() - all_of.min())
    np.testing.assert_allclose(measured.example(np.int64(0))["image"][..., 0], expected, atol=1e-6)
    # The test split has the train split's black and white.
    test = open_source(f"folder:{tmp_path}", "test", 40)
    held_out = tifffile.imread(tmp_path / f"{test.names[0]}.tif")[:, 10:50]
    expected = np.clip((held_out - all_of.min()) / (all_of.max() - all_of.min()), 0, 1)
    np.testing.assert_allclose(test.example(np.int64(0))["image"][..., 0], expected, atol=1e-6)


def test_a_measured_range_can_be_written_down(tmp_path):
    from kerasgen.data.loading import settled

    np.save(tmp_path / "a.npy", np.linspace(-1.5, 2.5, 64, dtype=np.float32).reshape(8, 8))
    assert settled(f"folder:{tmp_path}") == f"folder:{tmp_path}?range=-1.5..2.5"
    assert settled(f"folder:{tmp_path}?range=0..9") == f"folder:{tmp_path}?range=0..9"
    assert settled("digits") == "digits"


@pytest.mark.parametrize("channels", [2, 4, 7, 32])
def test_arrays_of_any_number_of_channels(tmp_path, channels):
    pixels = np.random.default_rng(0).random((4, 16, 16, channels), np.float32)
    for i, array in enumerate(pixels):
        np.save(tmp_path / f"{i}.npy", array)
    source = f"folder:{tmp_path}?range=0..1"
    batch = next(iter(load(source, "train", image_size=16, batch_size=3, shuffle=False)))
    np.testing.assert_allclose(
        batch["image"], pixels[[int(n) for n in open_source(source, "train", 16).names]], atol=1e-6
    )
    with pytest.raises(UserError, match=rf"can be read with {channels} channels, but 3"):
        load(source, image_size=16, channels=3)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.npy", np.zeros((33, 4, 40)), "not numbers"),
        ("a.npy", np.zeros((4, 4), complex), "holds complex128"),
        ("a.npy", np.array([{"a": 1}], object), "holds object"),
        ("a.npy", np.zeros(4), "shape"),
        ("a.npy", np.zeros((0, 5, 3), np.uint8), "its 5×0 pixels are none"),
        ("a.npy", np.zeros((5, 0, 3), np.uint8), "its 0×5 pixels are none"),
        ("a.npy", np.zeros((0, 0), np.uint8), "its 0×0 pixels are none"),
        ("a.npy", np.zeros((1, 28, 28), np.uint8), r"shape \(1, 28, 28\) looks like channels first: save it as \["),
        ("a.npy", np.zeros((3, 32, 32), np.float32), "channels first"),
        ("a.npy", np.zeros((4, 224, 224), np.float32), "channels first"),
    ],
)
def test_arrays_that_are_not_pictures_are_named(tmp_path, name, array, message):
    np.save(tmp_path / name, array)
    with pytest.raises(PictureError, match=rf"a\.npy can't be read as a picture \(.*{message}"):
        read_head(tmp_path / name)


@pytest.mark.parametrize("shape", [(3, 40, 3), (1, 40, 4), (4, 40), (2, 40, 8), (28, 28, 8)])
def test_low_and_deep_arrays_are_pictures(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    found = read_picture(tmp_path / "a.npy", AS_IS, (*shape, 1)[2])
    np.testing.assert_allclose(found, pixels.reshape(found.shape) / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 5, 3), (3, 32, 32)])
def test_an_array_that_is_no_picture_is_left_out(tmp_path, shape):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.full((8, 8, 3), 50 + i, np.uint8))
    np.save(tmp_path / "none.npy", np.zeros(shape, np.uint8))
    with pytest.warns(UserWarning, match=r"1 of 5 files are left out; 1 unreadable: none\.npy"):
        images = next(iter(load(f"folder:{tmp_path}", image_size=8, batch_size=3)))["image"].numpy()
    assert images.min() > 0.19
    assert [path.name for path in targets(tmp_path, tmp_path.parent / "out").damaged] == ["none.npy"]


def test_numbers_that_do_not_say_how_bright_a_pixel_is_are_refused(tmp_path):
    palette = np.random.default_rng(0).integers(0, 65535, (3, 2**16), np.uint16)
    tifffile.imwrite(tmp_path / "palette.tif", GRAY, photometric="palette", colormap=palette)
    with pytest.raises(
        PictureError, match=r"palette\.tif can't be read .*PALETTE of 16 bits: save it in gray or RGB"
    ):
        read_head(tmp_path / "palette.tif")
    tifffile.imwrite(tmp_path / "lab.tif", COLOR, photometric="cielab")
    with pytest.raises(PictureError, match=r"lab\.tif can't be read .*CIELAB of 16 bits"):
        read_head(tmp_path / "lab.tif")


def test_damaged_and_hostile_files_get_a_sentence(tmp_path):
    np.save(tmp_path / "cut.npy", GRAY)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:900])
    tifffile.imwrite(tmp_path / "cut.tif", GRAY)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:1500])
    png16(tmp_path / "cut.png", GRAY, 0)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:1500])
    np.save(tmp_path / "nan.npy", np.where(GRAY > 30000, np.nan, GRAY).astype(np.float32))
    for name in ("cut.npy", "cut.tif", "cut.png", "nan.npy"):
        with pytest.raises(PictureError, match=rf"{name} can't be read as a picture"):
            read_picture(tmp_path / name, AS_IS, 1, (0.0, 1.0))


def test_a_compressed_part_larger_than_the_picture_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "bomb.tif", GRAY, compression="zlib")
    with tifffile.TiffFile(tmp_path / "bomb.tif") as tiff:
        page = tiff.pages.first
        place, (count,) = page.tags["StripOffsets"].valueoffset, page.databytecounts
        offset, counts = page.dataoffsets[0], page.tags["StripByteCounts"].valueoffset
        sizes = (page.tags["StripOffsets"].count, count, offset, counts, place)
    assert sizes[0] == 1
    bomb = zlib.compress(bytes(50_000_000))
    data = bytearray((tmp_path / "bomb.tif").read_bytes())
    whole = len(data)
    data += bomb
    for at, value in ((place, whole), (counts, len(bomb))):
        data[at : at + 4] = struct.pack("<I", value)
    (tmp_path / "bomb.tif").write_bytes(bytes(data))
    with pytest.raises(PictureError, match="larger than the whole"):
        read_picture(tmp_path / "bomb.tif", AS_IS, 1)


def test_floats_beside_pictures_must_say_their_range(tmp_path):
    for i in range(4):
        Image.fromarray(CHINA.astype(np.uint8)).save(tmp_path / f"{i}.png")
        tifffile.imwrite(tmp_path / f"{i}.tif", GRAY.astype(np.float32))
    with pytest.raises(UserError, match=r"mixes .* say black and white of the floats"):
        load(f"folder:{tmp_path}", image_size=8, batch_size=1)


def test_a_further_channel_is_alpha_only_where_the_file_says_so(tmp_path):
    """Infrared beside RGB is a fourth channel; what says that it is alpha is laid on white, associated or not."""
    infrared = np.full_like(GRAY, 3000)
    tifffile.imwrite(tmp_path / "nir.tif", np.dstack([COLOR, infrared]), photometric="rgb", extrasamples=[0])
    assert read_head(tmp_path / "nir.tif").channels == 4
    found = read_picture(tmp_path / "nir.tif", AS_IS, 4)
    np.testing.assert_allclose(found[..., :3], COLOR / 65535, atol=1e-6)
    np.testing.assert_allclose(found[..., 3], 3000 / 65535, atol=1e-6)
    with pytest.raises(PictureError, match="it has 4 channels, not 3"):
        read_picture(tmp_path / "nir.tif", AS_IS, 3)
    half = np.full_like(GRAY, 32768)
    share = 32768 / 65535
    on_white = COLOR / 65535 * share + (1 - share)
    multiplied = (COLOR * share).astype(np.uint16)
    for kind, colors in ((2, COLOR), (1, multiplied)):
        path = tmp_path / f"alpha{kind}.tif"
        tifffile.imwrite(path, np.dstack([colors, half]), photometric="rgb", extrasamples=[kind])
        assert read_head(path).channels is None
        np.testing.assert_allclose(read_picture(path, AS_IS, 3), on_white, atol=3e-5)


def test_numbers_that_are_none_make_no_range(tmp_path):
    """NaN and infinity, as depth maps have them: their pictures are left out, and the others keep their scale."""
    for i in range(8):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "test").mkdir(exist_ok=True)
        plane = np.linspace(2.0, 6.0, 256, dtype=np.float32).reshape(16, 16)
        plane[3, 3] = {0: np.nan, 1: np.inf, 2: -np.inf}.get(i, plane[3, 3])
        np.save(tmp_path / "train" / f"{i}.npy", plane)
        np.save(tmp_path / "test" / f"{i}.npy", np.full((16, 16), 4.0, np.float32))
    np.save(tmp_path / "train" / "8.npy", np.full((16, 16), np.nan, np.float32))
    source = f"folder:{tmp_path}"
    with pytest.warns(UserWarning, match="can't be read") as told:
        images = next(iter(load(source, shuffle=False, image_size=16, channels=1, batch_size=9)))["image"].numpy()
    for name in ("0.npy", "1.npy", "2.npy", "8.npy"):
        assert any(name in str(one.message) and "not a number" in str(one.message) for one in told)
    assert images.min() == 0
    assert images.max() == 1
    np.testing.assert_allclose(images[5].ravel(), np.linspace(0, 1, 256), atol=1e-6)
    for text in ("0..inf", "nan..1", "-inf..0"):
        with pytest.raises(UserError, match="is not black and white"):
            load(f"{source}?range={text}", image_size=16)


def test_the_order_of_bytes_changes_no_range(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i, order in enumerate("<>"):
            np.save(tmp_path / split / f"{i}.npy", GRAY.astype(f"{order}u2"))
    assert read_head(tmp_path / "train" / "1.npy").known_range
    images = next(iter(load(f"folder:{tmp_path}", shuffle=False, image_size=40, channels=1, batch_size=2)))["image"]
    np.testing.assert_array_equal(images[0], images[1])
