"""Callbacks in a real training."""

import csv
import signal

import keras
import numpy as np
import pytest
from PIL import Image

from kerasgen.errors import Stopped, UserError
from kerasgen.training.callbacks import ImageGrid, LogFile, StopOnNaN, StopWhenAsked
from kerasgen.training.checkpoints import Checkpoints
from kerasgen.training.progress import ProgressBar, duration


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
    lines = capsys.readouterr().out.splitlines()  # not a terminal
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "left" in lines[0]
    assert "loss" in lines[1]


def test_long_epochs_say_how_they_go(small_vae, digits, capsys):
    vae = small_vae()
    vae.compile(optimizer="adam")
    vae.fit(digits, batch_size=4, callbacks=[ProgressBar(("loss",))], verbose=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "epoch 1/1, step 10/128",
        "epoch 1/1, step 100/128",
        "epoch 1/1",
    ]
    assert "left" in lines[0]
    assert [duration(seconds) for seconds in (3, 119, 121, 7300)] == [
        "3 seconds",
        "119 seconds",
        "2 minutes",
        "2 hours",
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_says_where_it_stopped_and_how_to_go_on(small_vae, digits, tmp_path, capsys, times):
    vae = small_vae()
    vae.compile(optimizer="adam")
    checkpoints = Checkpoints(tmp_path, steps_per_epoch=8)
    stop = StopWhenAsked(checkpoints)

    def press(batch, logs):
        if batch == 2:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    pressed = keras.callbacks.LambdaCallback(on_train_batch_end=press)
    where = "after batch 3 of epoch 1" if times == 1 else "at once in epoch 1: there is no checkpoint yet"
    with pytest.raises(Stopped, match=where) as stopped, stop.listening():
        vae.fit(digits, batch_size=64, callbacks=[pressed, checkpoints, stop], verbose=0)
    assert stopped.value.exit_code == 130
    assert "Ctrl-C again stops at once" in capsys.readouterr().err
    assert len(list(tmp_path.glob("step_*.npz"))) == (times == 1)
    if times == 1:
        assert "go on with the same command and --resume" in str(stopped.value)


def test_the_log_file_goes_on_where_it_was(small_vae, digits, tmp_path):
    vae = small_vae()
    vae.compile(optimizer="adam")
    log = LogFile(tmp_path / "log.csv", before=[{"loss": 0.1}, {"loss": 1 / 3}])
    history = vae.fit(digits, batch_size=256, initial_epoch=2, epochs=3, callbacks=[log], verbose=0).history
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["loss"]) for row in rows] == [0.1, 1 / 3, history["loss"][0]]
