"""The order of a training: each epoch another, and the same from the seed and the step alone."""

import gc
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.data import available_sources, load
from kerasgen.errors import UserError


def labels(dataset):
    return np.concatenate([batch["label"] for batch in dataset.as_numpy_iterator()])


def test_an_epoch_takes_each_example_once_at_most():
    data = load("digits", batch_size=64, seed=3)
    originals = {
        image.tobytes(): label
        for batch in load("digits", shuffle=False).as_numpy_iterator()
        for image, label in zip(batch["image"], batch["label"], strict=True)
    }
    for _ in range(2):
        batches = list(data.as_numpy_iterator())
        images = [image.tobytes() for batch in batches for image in batch["image"]]
        assert len(images) == len(set(images)) == 1500 // 64 * 64 == 64 * len(data)
        # The labels went with their images.
        assert [originals[image] for image in images] == [n for batch in batches for n in batch["label"]]


def test_the_endless_form_begins_at_any_step():
    data = load("digits", batch_size=256, seed=1)
    steps = np.concatenate([labels(data) for _ in range(3)]).reshape(-1, 256)
    assert len(steps) == 15
    for start in (0, 4, 5, 7):
        endless = load("digits", batch_size=256, seed=1, start_step=start).take(8)
        np.testing.assert_array_equal([batch["label"] for batch in endless], steps[start : start + 8])


def test_the_count_of_epochs_outlives_every_other_reference():
    data = load("digits", batch_size=500)
    gc.collect()
    assert not np.array_equal(labels(data), labels(data))


def test_fit_sees_the_next_order_in_each_epoch():
    seen = []

    class Watch(keras.Model):
        def train_step(self, data):
            return {"first": keras.ops.sum(data["label"] * keras.ops.arange(500))}

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["first"])

    watch = Watch()
    watch.compile()
    watch.fit(load("digits", batch_size=500, seed=2), epochs=2, callbacks=[Record()], verbose=0)
    data = load("digits", batch_size=500, seed=2)
    assert seen == [batch @ np.arange(500) for _ in range(2) for batch in labels(data).reshape(-1, 500)]


_TWO_REPLICAS = """
import json, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from kerasgen.data import load
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
epochs = []
data = strategy.experimental_distribute_dataset(load("digits", batch_size=500, seed=2))
for _ in range(2):
    parts = [strategy.experimental_local_results(batch["label"]) for batch in data]
    epochs.append([part.numpy().tolist() for batch in parts for part in batch])
print(json.dumps(epochs))
"""


@pytest.mark.slow
def test_two_replicas_share_the_same_batches(warm):
    run = warm.run("-c", _TWO_REPLICAS)
    assert run.returncode == 0, run.stderr
    data = load("digits", batch_size=500, seed=2)
    for epoch in json.loads(run.stdout.splitlines()[-1]):
        assert [len(part) for part in epoch] == [250] * 6
        np.testing.assert_array_equal(np.concatenate(epoch), labels(data))


@pytest.mark.parametrize("options", [{"shuffle": False, "start_step": 1}, {"start_step": -1}])
def test_a_start_that_does_not_fit_gets_a_sentence(options):
    with pytest.raises(UserError, match="start_step is"):
        load("digits", **options)


def test_sources_are_listed_as_they_are_written():
    assert list(available_sources()) == [
        "digits",
        "photos",
        "pictures",
        "folder:PATH",
        "side_by_side:PATH",
        "left:PATH",
        "right:PATH",
        "tfds:NAME",
        "digits_ink",
        "photo_dusk",
        "lfw",
        "openmoji",
        "openmoji_lines",
        "openmoji_attributes",
    ]


def test_no_iteration_waits_for_autotuning(small_vae, monkeypatch):
    """TensorFlow's lets a dataset end late, often by as much again as it took: it is off, unless asked for."""
    given = []

    def recorded(method):
        def call(model, *args, **kwargs):
            given.extend([*args, *kwargs.values()])
            return method(model, *args, **kwargs)

        return call

    for name in ("fit", "evaluate", "predict"):
        monkeypatch.setattr(keras.Model, name, recorded(getattr(keras.Model, name)))
    images = np.zeros((4, 8, 8, 1), np.float32)
    plain, asked = (tf.data.Dataset.from_tensor_slices({"image": images}).batch(2) for _ in range(2))
    options = tf.data.Options()
    options.autotune.enabled = True
    asked = asked.with_options(options)
    vae = small_vae(num_classes=None)
    vae.compile("adam")
    vae.fit(plain, validation_data=asked, verbose=0)
    vae.evaluate(x=plain, verbose=0)
    vae.predict(plain, verbose=0)
    vae.fit(images, verbose=0)
    datasets = [one for one in given if isinstance(one, tf.data.Dataset)]
    assert [one.options().autotune.enabled for one in datasets] == [False, True, True, False, False]
    assert any(one is images for one in given)
    for split in ("train", "test"):
        assert load("digits", split=split).options().autotune.enabled is False
