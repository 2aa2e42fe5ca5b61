"""Checkpoints: what they hold, which stay, and what becomes of damaged ones."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.data import load
from kerasgen.errors import UserError
from kerasgen.training.callbacks import StopOnNaN
from kerasgen.training.checkpoints import Checkpoints

STEPS = 6  # an epoch of 1,500 digits in batches of 250


class Stop(keras.callbacks.Callback):
    """Ends the process's training after a step, as Ctrl-C does."""

    def __init__(self, step):
        super().__init__()
        self.step, self.epoch = step, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch * STEPS + batch + 1 == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def train(small_vae, tmp_path):
    """Trains a VAE on digits from where the folder's checkpoints stand; gives all its variables and the logs."""

    def run(folder, epochs=3, stop=None, accumulate=1, together=1, **options):
        keras.utils.set_random_seed(0)
        vae = small_vae(kl_warmup_steps=9)
        decay = keras.optimizers.schedules.CosineDecay(1e-3, 20)
        adam = keras.optimizers.Adam(decay, use_ema=True)
        vae.compile(optimizer=adam, gradient_accumulation_steps=accumulate, steps_per_execution=together)
        kept = Checkpoints(tmp_path / folder, STEPS, **{"every_steps": 4, **options})
        step = kept.restore(vae)
        vae.fit(
            load("digits", image_size=8, batch_size=250, start_step=step),
            initial_epoch=step // STEPS,
            epochs=epochs,
            steps_per_epoch=STEPS,
            callbacks=[kept, *([Stop(stop)] if stop else [])],
            verbose=0,
        )
        return [np.array(v) for group in vae.training_variables.values() for v in group], kept.logs

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("accumulate", "together"), [(1, 1), (5, 1), (1, 2)])
def test_interrupted_within_an_epoch_it_goes_on_to_the_bit(train, accumulate, together):
    options = {"accumulate": accumulate, "together": together}
    expected, logs = train("undisturbed", **options)
    for stop in (10, 14):
        with pytest.raises(KeyboardInterrupt):
            train("interrupted", stop=stop, **options)
    found, resumed_logs = train("interrupted", **options)
    assert resumed_logs == logs  # the metrics of the epoch so far went on too
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(b, a)


@pytest.mark.slow
def test_steps_that_run_together_must_end_where_checkpoints_are_due(train):
    with pytest.raises(UserError, match="every_steps is 4, which isn't a multiple of steps_per_execution=3"):
        train("a", together=3)
    with pytest.raises(UserError, match="steps_per_epoch is 6, which isn't a multiple of steps_per_execution=4"):
        train("a", together=4)
    with pytest.raises(KeyboardInterrupt):
        train("b", stop=4)
    with pytest.raises(UserError, match=r"goes on after step 4 of an epoch, which isn't a multiple of .*execution=3"):
        train("b", together=3, every_steps=3)


def test_the_newest_and_the_best_stay(train, tmp_path):
    _, logs = train("a", keep=2, monitor="kl_loss")
    best = min(range(3), key=lambda epoch: logs[epoch]["kl_loss"])
    steps = sorted({16, 18, 6 * best + 6})
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [f"step_{step:08d}.npz" for step in steps]


def test_the_best_can_be_restored(train, small_vae, tmp_path):
    _, logs = train("a", keep=1, monitor="kl_loss")
    best = min(range(3), key=lambda epoch: logs[epoch]["kl_loss"])
    vae = small_vae()
    vae.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 20), use_ema=True))
    assert Checkpoints(tmp_path / "a", STEPS).restore(vae, best=True) == 6 * best + 6


def test_a_metric_that_is_not_logged_is_named(train):
    with pytest.raises(
        UserError, match="no 'val_elbo' to choose the best checkpoint by: choose one of kl_loss, loss"
    ):
        train("a", monitor="val_elbo")


def validation_with_nan(digits, epoch: int) -> tf.data.Dataset:
    """64 digits, one of which is NaN when they are gone through for that epoch; the training's are whole."""
    passes = itertools.count(1)

    def batches():
        images = digits["image"][:64].copy()
        images[3] = np.nan if next(passes) == epoch else images[3]
        yield {"image": images, "label": digits["label"][:64]}

    spec = {"image": tf.TensorSpec((64, 8, 8, 1)), "label": tf.TensorSpec((64,), tf.int32)}
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    return dataset.apply(tf.data.experimental.assert_cardinality(1))


@pytest.mark.parametrize("former", [None, {"step": 1, "metric": "val_loss", "value": math.nan}])
def test_nan_in_one_validation_is_never_the_best(small_vae, digits, tmp_path, former):
    vae = small_vae()
    vae.compile(optimizer="adam")
    kept = Checkpoints(tmp_path, steps_per_epoch=4, keep=1, monitor="val_loss")
    kept.best = former  # as an earlier version left it
    options = {"batch_size": 128, "validation_data": validation_with_nan(digits, epoch=1), "verbose": 0}
    vae.fit(digits, epochs=3, callbacks=[kept], **options)
    found = [numbers["val_loss"] for numbers in kept.logs]
    assert [math.isnan(value) for value in found] == [True, False, False]
    best = 1 + int(np.argmin(found[1:]))
    assert kept.best == {"step": 4 * best + 4, "metric": "val_loss", "value": found[best]}
    again = Checkpoints(tmp_path, steps_per_epoch=4, monitor="val_loss")
    assert again.restore(vae) == 12
    assert again.best == kept.best


def test_nan_only_in_a_validation_ends_the_training_and_the_last_good_state_stays(small_vae, digits, tmp_path):
    vae = small_vae()
    vae.compile(optimizer="adam")
    kept = Checkpoints(tmp_path, steps_per_epoch=4, monitor="val_loss")
    options = {"batch_size": 128, "validation_data": validation_with_nan(digits, epoch=2), "verbose": 0}
    with pytest.raises(UserError, match=r"val_\w+ is NaN after epoch 2, and the training has stopped: look for NaN"):
        vae.fit(digits, epochs=3, callbacks=[StopOnNaN(), kept], **options)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000004.npz"]
    again = Checkpoints(tmp_path, steps_per_epoch=4, monitor="val_loss")
    assert again.restore(vae) == again.best["step"] == 4


def test_nan_in_an_optimizers_moments_is_refused(small_vae, digits, tmp_path):
    vae = small_vae()
    vae.compile(optimizer="adam")
    kept = Checkpoints(tmp_path, steps_per_epoch=4)
    vae.fit(digits, batch_size=128, callbacks=[kept], verbose=0)
    moments = next(i for i, v in enumerate(vae.optimizer.variables) if "momentum" in v.path and v.shape)
    with np.load(tmp_path / "step_00000004.npz") as file:
        arrays = dict(file)
    arrays[f"optimizer_0/{moments}"].flat[0] = np.nan
    np.savez(tmp_path / "step_00000004.npz", **arrays)
    before = [np.array(v) for v in vae.variables]
    with (
        pytest.warns(UserWarning, match=rf"step_00000004\.npz .*optimizer_0/{moments} holds NaN or infinity"),
        pytest.raises(UserError, match=r"No checkpoint in .* can be read"),
    ):
        kept.restore(vae)
    for expected, variable in zip(before, vae.variables, strict=True):
        np.testing.assert_array_equal(variable, expected)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_checkpoint_cut_in_half_is_named_and_the_one_before_it_taken(train, tmp_path, share):
    expected, logs = train("a")
    newest = tmp_path / "a" / "step_00000018.npz"
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(share * len(whole))])
    with pytest.warns(UserWarning, match=r"step_00000018\.npz can't be read as a checkpoint .* is taken\."):
        found, resumed_logs = train("a")
    assert resumed_logs == logs
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(b, a)
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"no checkpoint")
    with pytest.warns(UserWarning, match="can't be read"), pytest.raises(UserError, match="No checkpoint in"):
        train("a")


@pytest.mark.slow
def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(train, small_vae, tmp_path):
    train("a", epochs=1)
    kept = Checkpoints(tmp_path / "a", STEPS)
    other = small_vae(latent_dim=5)
    other.compile(optimizer="adam")
    before = [np.array(v) for v in other.variables]
    with pytest.raises(UserError, match=r"has the shape .*step_00000006\.npz it has the shape"):
        kept.restore(other)
    for expected, variable in zip(before, other.variables, strict=True):
        np.testing.assert_array_equal(variable, expected)
    same = small_vae()
    same.compile(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(1e-3, 20)))
    with pytest.raises(UserError, match=r"step_00000006\.npz holds \d+ variables, but the model and its optimizers"):
        kept.restore(same)
    with pytest.raises(UserError, match="with 6 steps an epoch, but the data now make 7"):
        Checkpoints(tmp_path / "a", 7).restore(same)


@pytest.mark.parametrize("name", ["steps_per_epoch", "every_steps", "keep"])
def test_numbers_below_1_get_a_sentence(name, tmp_path):
    with pytest.raises(UserError, match=f"{name} is 0: give 1 or more"):
        Checkpoints(tmp_path, **{"steps_per_epoch": 6, name: 0})
