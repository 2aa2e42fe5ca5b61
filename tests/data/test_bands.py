"""Pictures by rows: the same numbers as at once, and few rows at a time where the file allows that."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.data.bands import bands
from kerasgen.data.deep import deep_head, write_deep
from kerasgen.data.reading import PictureError, read_bands, read_picture
from kerasgen.data.sources.source import Fit

CHINA = np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((201, 503)))
ALPHA = np.concatenate([CHINA, CHINA[::-1, :, :1]], axis=-1)
DEEP = CHINA.astype(np.uint16) * 257 + 3
TILED = {"tile": (64, 48), "compression": "adobe_deflate", "predictor": True}
STRIPS = {"rowsperstrip": 100}


def pillow(path, picture, mode="RGB", **how):
    Image.fromarray(picture).convert(mode).save(path, **how)


BY_ROWS = {
    "rgb.png": lambda path: pillow(path, CHINA),
    "gray.png": lambda path: pillow(path, CHINA, "L"),
    "alpha.png": lambda path: pillow(path, ALPHA, "RGBA"),
    "gray alpha.png": lambda path: pillow(path, ALPHA, "LA"),
    "deep.png": lambda path: write_deep(path, DEEP / 65535, np.dtype("uint16")),
    "deep alpha.png": lambda path: write_deep(path, ALPHA / 255, np.dtype("uint16")),
    "plain.tif": lambda path: tifffile.imwrite(path, CHINA),
    "strips.tif": lambda path: pillow(path, CHINA, compression="tiff_deflate", tiffinfo={278: 100}),
    "packed.tif": lambda path: pillow(path, CHINA, "L", compression="packbits"),
    "tiles.tif": lambda path: tifffile.imwrite(path, CHINA, **TILED),
    "deep.tif": lambda path: tifffile.imwrite(path, DEEP, byteorder=">"),
    "deep strips.tif": lambda path: tifffile.imwrite(path, DEEP, compression="zlib", **STRIPS),
    "deep tiles.tif": lambda path: tifffile.imwrite(path, DEEP[..., 0], **TILED),
    "white is 0.tif": lambda path: tifffile.imwrite(path, DEEP[..., 0], photometric="miniswhite", **STRIPS),
    "numbers.npy": lambda path: np.save(path, DEEP),
}
AT_ONCE = {
    "picture.jpg": lambda path: pillow(path, CHINA),
    "palette.png": lambda path: pillow(path, CHINA, "P"),
    "turned.png": lambda path: pillow(
        path, CHINA, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    ),
    "columns first.npy": lambda path: np.save(path, np.asfortranarray(DEEP)),
    "planes.tif": lambda path: tifffile.imwrite(
        path, DEEP.transpose(2, 0, 1), planarconfig="separate", photometric="rgb"
    ),
    "lzw.tif": lambda path: pillow(path, CHINA, compression="tiff_lzw"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*BY_ROWS, *AT_ONCE])
def test_rows_are_those_of_the_picture(tmp_path, monkeypatch, name, channels):
    monkeypatch.setattr("kerasgen.data.bands._AT_ONCE", 2**16)  # so that a small picture has several bands
    monkeypatch.setattr("kerasgen.data.png._MOST_ROWS", 37)
    path = tmp_path / name
    (BY_ROWS | AT_ONCE)[name](path)
    found = list(read_bands(path, channels))
    assert max(map(len, found)) < 400 if name in BY_ROWS else len(found) == 1
    whole = read_picture(path, Fit("natural"), channels)
    assert found[0].dtype == whole.dtype
    assert whole.std() > (10 if whole.dtype == np.uint8 else 0.04)
    np.testing.assert_array_equal(np.concatenate(found), whole)


def test_each_filter_of_png_is_undone():
    from kerasgen.data.png import PngWriter, png_rows

    random = np.random.default_rng(0)
    # Pillow's encoder chooses among all five for a photograph; ours among four.
    for picture in (CHINA, random.integers(0, 256, (50, 31, 3), np.uint8), np.full((9, 1, 3), 255, np.uint8)):
        files = [io.BytesIO(), io.BytesIO()]
        Image.fromarray(picture).save(files[0], "png")
        writer = PngWriter(files[1], picture.shape, np.uint8)
        writer.write(picture)
        writer.close()
        for file in files:
            np.testing.assert_array_equal(np.concatenate(list(png_rows(file))), picture)


def damaged_byte(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [damaged_byte, lambda content: content[: len(content) * 2 // 3]])
@pytest.mark.parametrize("name", ["rgb.png", "deep.png", "tiles.tif", "deep strips.tif", "numbers.npy"])
def test_damage_is_one_sentence_or_not_there(tmp_path, name, damage):
    path = tmp_path / name
    BY_ROWS[name](path)
    path.write_bytes(damage(path.read_bytes()))
    if name == "numbers.npy" and damage is damaged_byte:
        assert sum(map(len, read_bands(path, 3))) == len(CHINA)  # any numbers are an array's
        return
    with pytest.raises(PictureError, match=r"can't be read as a picture \(.*\)\.$"):
        list(read_bands(path, 3))


def test_a_piece_that_grows_beyond_its_place_is_refused_before_it_does(tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((40, 40), np.uint16), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
        counts = tiff.pages.first.tags["StripByteCounts"]
    import zlib

    bomb, content = zlib.compress(bytes(10**6)), path.read_bytes()
    path.write_bytes(content[:offset] + bomb)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[counts.code].overwrite(len(bomb))
    with open(path, "rb") as file, pytest.raises(ValueError, match="larger than the whole"):
        list(bands(file, deep_head(file)))
