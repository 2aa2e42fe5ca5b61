"""Pictures: their pixels, and that they are written whole or not at all."""

import numpy as np
import pytest
from PIL import Image

from kerasgen.drawing import grid, plot_history, save_png, side_by_side
from kerasgen.errors import UserError


def test_grid_places_images_row_by_row():
    images = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1) / 5 * np.ones((6, 64, 64, 1), np.float32)
    sheet = grid(images, columns=3)
    assert sheet.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    found = [sheet[2 + 66 * row + 5, 2 + 66 * column + 5, 0] for row in range(2) for column in range(3)]
    np.testing.assert_array_equal(found, [0, 51, 102, 153, 204, 255])


def test_small_images_are_enlarged():
    assert grid(np.zeros((4, 8, 8, 1), np.float32)).shape == (2 * 50 + 2, 2 * 50 + 2, 3)


def test_side_by_side_has_a_row_for_each_title():
    images = np.zeros((5, 64, 64, 3), np.uint8)
    picture = side_by_side({"input": images, "output": images + 255}, rows=4)
    assert picture.shape == (2 * (18 + 68), 4 * 66 + 2, 3)


def test_save_png_round_trips(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    save_png(tmp_path / "new folder" / "a.png", picture)
    np.testing.assert_array_equal(Image.open(tmp_path / "new folder" / "a.png"), picture)
    assert len(list((tmp_path / "new folder").iterdir())) == 1


def test_history_becomes_curves(tmp_path):
    plot_history(tmp_path / "curves.png", {"loss": [3.0, 2, 1], "val_loss": [3.0, 2.5, 2], "val_elbo": [1.0, 2, 3]})
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize(("channels", "shown"), [(2, [0]), (4, [0, 1, 2]), (7, [0, 1, 2])])
def test_of_many_channels_the_first_are_shown(channels, shown):
    images = np.random.default_rng(0).integers(0, 255, (2, 50, 50, channels), np.uint8)
    np.testing.assert_array_equal(grid(images), grid(images[..., shown]))


@pytest.mark.parametrize("shape", [(4, 4, 1), (0, 4, 4, 1), (2, 4, 4, 0)])
def test_wrong_shapes_get_a_sentence(shape):
    with pytest.raises(UserError, match="is needed"):
        grid(np.zeros(shape))
