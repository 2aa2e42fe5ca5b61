"""Callbacks in a real training."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from kerasgen.errors import UserError
from kerasgen.training.callbacks import ImageGrid, LogFile, ProgressBar, StopOnNaN


def test_image_grid_shows_the_same_noise_each_epoch(small_vae, digits, tmp_path):
    vae = small_vae()
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    callbacks = [ImageGrid(tmp_path / "noise", n=9), ImageGrid(tmp_path / "inputs", inputs=digits, n=4)]
    vae.fit(digits, batch_size=64, epochs=2, callbacks=callbacks, verbose=0)
    for folder in ("noise", "inputs"):
        names = sorted(p.name for p in (tmp_path / folder).iterdir())
        assert names == ["epoch_0000.png", "epoch_0001.png", "epoch_0002.png"]
        # A learning rate of 0 changes nothing, so that only the noise could differ.
        pictures = [np.asarray(Image.open(tmp_path / folder / name)) for name in names]
        np.testing.assert_array_equal(pictures[0], pictures[2])


def test_nan_stops_with_a_sentence(small_vae, digits):
    vae = small_vae()
    vae.compile(optimizer="adam")
    images = digits["image"].copy()
    images[200] = np.nan
    with pytest.raises(UserError, match=r"loss is nan in epoch 1, batch \d"):
        vae.fit({**digits, "image": images}, batch_size=64, callbacks=[StopOnNaN()], verbose=0)


def test_progress_bar_names_the_last_numbers(small_vae, digits, capsys):
    vae = small_vae()
    vae.compile(optimizer="adam")
    vae.fit(digits, batch_size=128, epochs=2, callbacks=[ProgressBar(("loss",))], verbose=0)
    assert "2/2" in capsys.readouterr().out


def test_the_log_file_goes_on_where_it_was(small_vae, digits, tmp_path):
    vae = small_vae()
    vae.compile(optimizer="adam")
    log = LogFile(tmp_path / "log.csv", before=[{"loss": 0.1}, {"loss": 1 / 3}])
    history = vae.fit(digits, batch_size=256, initial_epoch=2, epochs=3, callbacks=[log], verbose=0).history
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["loss"]) for row in rows] == [0.1, 1 / 3, history["loss"][0]]
