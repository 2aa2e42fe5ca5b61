"""The one opener of pictures: what it decodes, and what every fault becomes."""

import os
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from kerasgen.data.reading import PictureError, open_picture, read_head, read_picture
from kerasgen.data.sources.source import Fit


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_six_formats_are_decoded_whatever_the_name_says(tmp_path, format):
    Image.new("RGB", (6, 4), (255, 0, 0)).save(tmp_path / "a.png", format=format)
    picture = read_picture(tmp_path / "a.png", Fit("natural"), 3)
    assert picture.shape == (4, 6, 3)
    assert np.abs(picture.astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("format", ["EPS", "PCX", "PPM", "ICO", "TGA"])
def test_no_other_decoder_is_reached(tmp_path, format):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", format=format)
    with pytest.raises(PictureError, match=r"a\.png can't be read as a picture \(it is not JPEG, "):
        read_picture(tmp_path / "a.png", Fit("natural"), 3)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (14_000, 14_000)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(PictureError, match="pixels"), open_picture(tmp_path / "a.png"):
            pass
    Image.new("1", (1, 100_000)).save(tmp_path / "line.png")
    with pytest.raises(PictureError, match="64×6400000 pixels are more than"):
        read_picture(tmp_path / "line.png", Fit("width", (64, 64)), 3)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PictureError, match="not a regular file"), open_picture(tmp_path / "a.png"):
        pass


def test_names_are_printed_harmlessly(tmp_path):
    for name in (b"a\nb\x1b[31m.png", b"\xff\xfe.png", b"n" * 250 + b".png"):
        file = tmp_path / os.fsdecode(name)
        file.write_bytes(b"no picture")
        with pytest.raises(PictureError) as caught, open_picture(file):
            pass
        said = str(caught.value)
        assert said.isprintable()
        assert len(said) <= 400
        said.encode()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("format", ["JPEG", "TIFF", "PNG"])
def test_the_head_says_the_size_that_the_picture_has(tmp_path, format, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "a", format=format, exif=exif)
    head = read_head(tmp_path / "a")
    assert (head.height, head.width) == read_picture(tmp_path / "a", Fit("natural"), 3).shape[:2]
    assert (head.height, head.width) == ((20, 40) if orientation < 5 else (40, 20))


def test_a_smaller_copy_in_a_tiff_is_no_second_picture(tmp_path):
    """As pyramids and cloud-optimized files hold them."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.full((64, 48, 3), 200, np.uint8), photometric="rgb")
        writer.write(np.full((32, 24, 3), 200, np.uint8), photometric="rgb", subfiletype=1)
    head = read_head(tmp_path / "a.tif")
    assert (head.height, head.width) == (64, 48)
    assert (read_picture(tmp_path / "a.tif", Fit("natural"), 3) == 200).all()
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, 64, 48, 3), np.uint8), photometric="rgb")
    with pytest.raises(PictureError, match="it holds several pictures"):
        read_head(tmp_path / "b.tif")
