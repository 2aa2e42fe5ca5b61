import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.data.png import PngWriter

CHINA = load_sample_image("china.jpg")[::3, ::4]


def written(picture: np.ndarray, rows: int) -> bytes:
    file = io.BytesIO()
    writer = PngWriter(file, picture.shape, picture.dtype)
    for low in range(0, len(picture), rows):
        writer.write(picture[low : low + rows])
    writer.close()
    return file.getvalue()


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pillow_reads_what_was_written_row_by_row(rows, channels):
    picture = np.concatenate([CHINA, CHINA[..., :1]], axis=-1)[..., :channels]
    content = written(picture, rows)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(picture.shape), picture)
    assert len(content) < 0.9 * picture.nbytes


def test_sixteen_bits_of_gray_and_of_color():
    deep = CHINA.astype(np.uint16) * 200 + np.arange(CHINA.shape[1], dtype=np.uint16)[:, None]
    with Image.open(io.BytesIO(written(deep[..., :1], 5))) as image:
        np.testing.assert_array_equal(np.asarray(image), deep[..., 0])
    import tensorflow as tf

    decoded = tf.io.decode_png(written(deep, 5), dtype=tf.uint16)
    np.testing.assert_array_equal(decoded, deep)


def test_each_chunk_has_its_checksum_and_rows_that_lack_are_an_error():
    content = written(CHINA, 9)
    at, kinds = 8, []
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        body = content[at + 4 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(body)
        kinds.append(body[:4])
        at += 12 + length
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    writer = PngWriter(io.BytesIO(), CHINA.shape, np.uint8)
    writer.write(CHINA[:3])
    with pytest.raises(ValueError, match="3 rows were written of"):
        writer.close()
