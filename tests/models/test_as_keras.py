"""The models as a Keras user takes them: weights of examples, callbacks, schedules, frozen parts, own networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as k

from kerasgen.errors import UserError
from kerasgen.models import VAE, AutoencoderKL, CycleGAN, PairedTranslator, RectifiedFlow, Registration
from kerasgen.networks import conv_decoder, conv_encoder
from kerasgen.samplers.attributes import parse_where

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((8, 8, 8, 1), np.float32)
WEIGHTS = np.array([10, 0, 0, 0, 0, 0, 0, 0], np.float32)
PLAIN = {"filters": 4, "norm": "none"}


def small_vae(**options) -> VAE:
    return VAE((8, 8, 1), 2, filters=(4,), hidden_units=8, **options)


def test_weights_of_examples_count_without_targets():
    vae = small_vae()
    vae.compile(keras.optimizers.SGD(1e-3))
    plain = vae.evaluate({"image": IMAGES}, verbose=0, return_dict=True)["loss"]
    inside = vae.evaluate({"image": IMAGES, "sample_weight": WEIGHTS}, verbose=0, return_dict=True)["loss"]
    beside = vae.evaluate({"image": IMAGES}, sample_weight=WEIGHTS, verbose=0, return_dict=True)["loss"]
    assert beside == pytest.approx(inside)
    assert beside != pytest.approx(plain)
    before = vae.get_weights()
    validation = ({"image": IMAGES}, None, WEIGHTS)
    fitted = vae.fit({"image": IMAGES}, sample_weight=np.zeros(8), validation_data=validation, verbose=0)
    for one, two in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert fitted.history["val_loss"] == [pytest.approx(inside)]
    for call in (vae.fit, vae.evaluate):
        with pytest.raises(UserError, match="sample_weight was given without targets"):
            call(IMAGES, sample_weight=WEIGHTS, verbose=0)
    with pytest.raises(UserError, match="class_weight goes by targets"):
        vae.fit({"image": IMAGES}, class_weight={0: 1.0}, verbose=0)


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """As tutorials write it: without a configuration."""

    def __call__(self, step):
        return 1e-3 / (1.0 + tf.cast(step, tf.float32))


def test_a_schedule_of_ones_own_trains_twice():
    vae = small_vae()
    vae.compile(keras.optimizers.Adam(OwnSchedule()))
    for _ in range(2):
        vae.fit(IMAGES, verbose=0)
    assert int(vae.optimizer.iterations) == 2


@pytest.mark.parametrize(
    "callback", [keras.callbacks.ReduceLROnPlateau("loss"), keras.callbacks.LearningRateScheduler(abs)]
)
def test_a_callback_changes_the_rate_of_one_optimizer_alone(callback):
    options = {
        "generator_options": {"filters": 4, "blocks": 1},
        "discriminator_options": {**PLAIN, "downsamplings": 1},
    }
    model = PairedTranslator("restorer", lambda_adversarial=1.0, **options)
    model.compile()
    pair = {name: np.zeros((2, 16, 16, 3), np.float32) for name in "ab"}
    with pytest.raises(UserError, match="changes the learning rate of one optimizer, but PairedTranslator has 2"):
        model.fit(pair, callbacks=[callback], verbose=0)


def test_cyclegan_has_optimizers_of_its_own():
    model = CycleGAN(16, generator_options={**PLAIN, "blocks": 1}, discriminator_options=PLAIN)
    model.compile()
    assert [float(one.learning_rate) for one in model.optimizers] == [pytest.approx(2e-4)] * 2


def test_a_frozen_decoder_cannot_weigh_an_adversarial_loss():
    options = {
        "architecture_options": {"filters": (8,), "patch": 2},
        "discriminator_options": {**PLAIN, "downsamplings": 1},
    }
    model = AutoencoderKL(1, adversarial_weight=0.5, **options)
    model.decoder.trainable = False
    model.compile()
    with pytest.raises(UserError, match="none of its convolutions is trained"):
        model.fit(IMAGES, verbose=0)


def test_what_is_frozen_stays_so_in_files(tmp_path):
    vae = small_vae()
    vae.encoder.trainable = False
    vae.encoder.get_layer("z_mean").trainable = True
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(IMAGES, verbose=0)
    vae.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [weight.path for weight in loaded.trainable_weights] == [weight.path for weight in vae.trainable_weights]
    assert int(loaded.optimizer.iterations) == 1
    before = {weight.path: np.array(weight) for weight in loaded.encoder.weights}
    loaded.fit(IMAGES, verbose=0)
    moved = {weight.path for weight in loaded.encoder.weights if (before[weight.path] != np.array(weight)).any()}
    assert moved
    assert all("z_mean" in path for path in moved)


def test_a_way_between_two_pictures_needs_their_class():
    vae = small_vae(num_classes=3)
    with pytest.raises(UserError, match=r"conditional on 3 classes: give the label of both pictures, labels="):
        vae.interpolate(IMAGES[0], IMAGES[1])
    assert vae.interpolate(IMAGES[0], IMAGES[1], steps=3, labels=2).shape == (3, 8, 8, 1)


@pytest.mark.parametrize("kind", ["vae", "flow"])
def test_predict_takes_pairs_as_fit_does(kind):
    options = {"filters": (8,), "hidden_units": 8, "num_classes": 3}
    model = small_vae(num_classes=3) if kind == "vae" else RectifiedFlow((8, 8, 1), **options)
    labels = np.arange(8) % 3
    pairs = tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(4)
    dicts = tf.data.Dataset.from_tensor_slices({"image": IMAGES, "label": labels}).batch(4)
    expected = model.predict(dicts, verbose=0)
    keras.tree.map_structure(np.testing.assert_array_equal, model.predict(pairs, verbose=0), expected)


def test_networks_of_ones_own_that_do_not_fit_are_refused():
    with pytest.raises(
        UserError, match=r"The decoder gives \(8, 8, 1\) of an example, but the model needs \(8, 8, 3\)"
    ):
        VAE((8, 8, 3), 2, decoder=conv_decoder(2, (8, 8, 1), (4,), 8))
    with pytest.raises(UserError, match=r"The encoder gives \(5,\) of an example, but the model needs \(2,\)"):
        VAE((8, 8, 1), 2, encoder=conv_encoder((8, 8, 1), 5, (4,), 8))
    image, time = keras.Input((8, 8, 1), name="image"), keras.Input((1,), name="time")
    network = keras.Model({"image": image, "time": time}, k.Conv2D(3, 1)(image))
    with pytest.raises(
        UserError, match=r"The network gives \(8, 8, 3\) of an example, but the model needs \(8, 8, 1\)"
    ):
        RectifiedFlow((8, 8, 1), network=network)
    unbuilt = keras.Sequential([k.Conv2D(3, 3, padding="same")])
    with pytest.raises(UserError, match="generator_a2b is a Sequential that isn't built"):
        PairedTranslator(generator_a2b=unbuilt)


def own_generator(*made) -> keras.Model:
    image = x = keras.Input((None, None, 3))
    for layer in made:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_a_generator_that_enlarges_as_keras_does(interpolation):
    halved = k.Conv2D(4, 3, strides=2, padding="same")
    generator = own_generator(halved, k.UpSampling2D(interpolation=interpolation), k.Conv2D(3, 3, padding="same"))
    model = PairedTranslator(generator_a2b=generator)
    for sides in ((16, 16), (24, 20)):
        images = RANDOM.uniform(-1, 1, (2, *sides, 3)).astype("float32")
        expected = np.clip(generator(images), -1, 1)
        np.testing.assert_allclose(model.translate(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "sides", "shape"),
    [
        ([k.Conv2D(3, 3, strides=2, padding="same")], (16, 16), (8, 8)),
        ([k.Conv2D(3, 3, strides=2, padding="same")], (15, 13), (8, 7)),
        ([k.Conv2D(3, 3)], (16, 12), (14, 10)),
        ([k.UpSampling2D(3), k.Conv2D(3, 3, padding="same")], (8, 5), (24, 15)),
    ],
)
def test_a_translation_has_the_size_that_its_network_makes(made, sides, shape):
    model = PairedTranslator(generator_a2b=own_generator(*made))
    images = RANDOM.uniform(-1, 1, (2, *sides, 3)).astype("float32")
    assert model.translate(images).shape == (2, *shape, 3)
    tall = RANDOM.uniform(-1, 1, (50 * sides[0], 64, 3)).astype("float32")
    whole = model.translate(tall)
    np.testing.assert_allclose(model.translate(tall, memory=3_000_000), whole, atol=1e-5)


class Subclassed(keras.Model):
    """A generator whose sizes nobody knows."""

    def __init__(self):
        super().__init__()
        self.convolution = k.Conv2D(3, 3, padding="same")

    def call(self, images):
        return self.convolution(images)


def test_a_subclassed_generator_translates():
    generator = Subclassed()
    images = RANDOM.uniform(-1, 1, (2, 12, 10, 3)).astype("float32")
    expected = np.clip(generator(images), -1, 1)
    model = PairedTranslator(generator_a2b=generator)
    np.testing.assert_allclose(model.translate(images), expected, atol=1e-6)


def test_sizes_that_a_network_cannot_take_get_a_sentence():
    fixed = keras.Input((16, 16, 3))
    model = PairedTranslator(generator_a2b=keras.Model(fixed, k.Conv2D(3, 3, padding="same")(fixed)))
    with pytest.raises(UserError, match=r"this network needs \[n, 16, 16, 3\]"):
        model.translate(np.zeros((1, 20, 16, 3), np.float32))
    with pytest.raises(UserError, match="The images have different sizes"):
        model.translate([np.zeros((16, 16, 3)), np.zeros((12, 16, 3))])
    registration = Registration(filters=(4, 4))
    registration.compile_for_recipe(1, 1)
    moved = {name: np.zeros((1, 18, 18, 3), np.float32) for name in ("moving", "fixed")}
    with pytest.raises(UserError, match="moving pictures are 18×18, but this network needs sides divisible by"):
        registration.fit(moved, verbose=0)
    unet = PairedTranslator("unet", generator_options={**PLAIN, "downsamplings": 3})
    unet.compile()
    with pytest.raises(UserError, match="are 20×20, but this network needs sides divisible by 8"):
        unet.fit({name: np.zeros((1, 20, 20, 3), np.float32) for name in "ab"}, verbose=0)


def test_numbers_in_other_scripts_are_no_evidence():
    with pytest.raises(UserError, match="can't be read at"):
        parse_where("label=²", ())
