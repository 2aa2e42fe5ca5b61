"""Callbacks in a real training."""

import keras
import numpy as np
import pytest
from PIL import Image

from kerasgen.callbacks import ImageGrid, ProgressBar, StopOnNaN, TrainingState
from kerasgen.errors import UserError


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


@pytest.fixture
def train_state(small_vae, tmp_path):
    """Trains a VAE on the digits source from where the state stands to an epoch; returns all its variables."""
    from kerasgen.data import load

    def train(epochs, file="state.npz", **options):
        keras.utils.set_random_seed(0)
        vae = small_vae(**options)
        vae.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 20)))
        state = TrainingState(tmp_path / file)
        done = state.restore(vae)
        data = load("digits", image_size=8, batch_size=250, start_step=6 * done)
        vae.fit(data, initial_epoch=done, epochs=epochs, steps_per_epoch=6, callbacks=[state], verbose=0)
        return [np.array(v) for v in (*vae.variables, *vae.optimizer.variables)]

    return train


def test_a_resumed_training_equals_an_undisturbed_one(train_state):
    undisturbed = train_state(3)
    train_state(1, "other.npz")
    resumed = train_state(3, "other.npz")
    for expected, found in zip(undisturbed, resumed, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_state_of_another_model_is_refused_and_changes_nothing(train_state, small_vae, tmp_path):
    train_state(1)
    other = small_vae(latent_dim=5)
    other.compile(optimizer="adam")
    before = [np.array(v) for v in other.variables]
    with pytest.raises(UserError, match=r"has the shape .*state\.npz it has the shape"):
        TrainingState(tmp_path / "state.npz").restore(other)
    for expected, variable in zip(before, other.variables, strict=True):
        np.testing.assert_array_equal(variable, expected)
    same = small_vae()
    same.compile(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(1e-3, 20)))
    with pytest.raises(
        UserError, match=r"state\.npz holds \d+ variables, but the model and its optimizers have only"
    ):
        TrainingState(tmp_path / "state.npz").restore(same)


@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_a_damaged_state_is_named(train_state, small_vae, tmp_path, kept):
    train_state(1)
    whole = (tmp_path / "state.npz").read_bytes()
    (tmp_path / "state.npz").write_bytes(whole[: int(kept * len(whole))])
    vae = small_vae()
    vae.compile(optimizer="adam")
    with pytest.raises(UserError, match=r"state\.npz can't be read"):
        TrainingState(tmp_path / "state.npz").restore(vae)


def test_a_write_that_fails_leaves_the_former_state(train_state, tmp_path, monkeypatch):
    train_state(1)
    before = (tmp_path / "state.npz").read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", full)
        with pytest.raises(UserError, match="No space left"):
            train_state(2)
    assert (tmp_path / "state.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.slow
def test_an_image_pool_and_two_optimizers_go_on_too(tmp_path):
    from kerasgen.data import load_unpaired
    from kerasgen.models import CycleGAN

    def train(epochs, file):
        keras.utils.set_random_seed(0)
        options = {"filters": 4, "blocks": 1, "downsamplings": 0}
        model = CycleGAN(
            16, generator_options=options, discriminator_options={"filters": 4, "downsamplings": 2}, pool_size=3
        )
        model.compile()
        state = TrainingState(tmp_path / file)
        done = state.restore(model)
        data = load_unpaired("digits", "digits_ink", image_size=16, mode="none", batch_size=2, start_step=4 * done)
        model.fit(data, initial_epoch=done, epochs=epochs, steps_per_epoch=4, callbacks=[state], verbose=0)
        return [np.array(v) for v in (*model.variables, *(v for o in model.optimizers for v in o.variables))]

    undisturbed = train(2, "a.npz")
    train(1, "b.npz")
    for expected, found in zip(undisturbed, train(2, "b.npz"), strict=True):
        np.testing.assert_array_equal(found, expected)
