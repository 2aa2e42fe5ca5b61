"""The models as a Keras user takes them: weights of examples, callbacks, schedules, frozen parts, own networks."""

import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as k

from kerasgen.errors import UserError
from kerasgen.models import (
    VAE,
    VQVAE,
    AutoencoderKL,
    CodePrior,
    CycleGAN,
    GenerativeModel,
    PairedTranslator,
    RectifiedFlow,
    Registration,
)
from kerasgen.networks import conv_decoder, conv_encoder
from kerasgen.runs import data_of, load_model
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


class WithExtra(VAE):
    def __init__(self, *args, extra=3, **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = extra


class OfOneShape(VAE):
    def __init__(self, **kwargs):
        super().__init__((8, 8, 1), 2, **kwargs)


class OfASize(VAE):
    def __init__(self, size=8):
        super().__init__((size, size, 1), 2, filters=(4,), hidden_units=8)


@keras.saving.register_keras_serializable(package="tests")
class Configured(VAE):
    """As tutorials write it, with a network of its own, and a step that does more than the model's."""

    def __init__(self, image_shape, latent_dim, extra=3, **kwargs):
        super().__init__(image_shape, latent_dim, **kwargs)
        self.extra, self.head = extra, keras.Sequential([keras.Input((2,)), k.Dense(1)])

    def get_config(self):
        return {**super().get_config(), "extra": self.extra}

    def train_step(self, data):
        return {**super().train_step(data), "more": tf.constant(7.0)}

    def update(self, tape, losses, share, variables, *rest):
        head = {id(variable) for variable in self.head.variables}
        super().update(tape, losses, share, [v for v in variables if id(v) not in head], *rest)


@keras.saving.register_keras_serializable(package="tests")
class OfASizeConfigured(OfASize):
    """One whose arguments have nothing to do with the model's."""

    def __init__(self, size=8):
        super().__init__(size)
        self.size = size

    def get_config(self):
        return {"size": self.size}


SMALL = {"filters": (4,), "hidden_units": 8}


@pytest.mark.parametrize(
    "make",
    [
        lambda: WithExtra((8, 8, 1), latent_dim=2, extra=5, **SMALL),
        lambda: OfOneShape(**SMALL),
        lambda: OfASize(),
        lambda: Configured((8, 8, 1), 2, extra=5, **SMALL),
        lambda: OfASizeConfigured(8),
    ],
    ids=["extra", "kwargs", "size", "configured", "size_configured"],
)
def test_a_subclass_with_a_constructor_of_its_own_trains(make, tmp_path):
    vae = make()
    recorded = VAE.get_config(vae)
    assert recorded == {**small_vae().get_config(), "name": vae.name}
    vae.compile("adam")
    logs = vae.fit(IMAGES, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    if "get_config" not in vars(type(vae)):
        return
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    assert type(again) is type(vae)
    assert json.dumps(again.get_config()) == json.dumps(vae.get_config())
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), vae.predict(IMAGES, verbose=0))
    # The optimizer and the seeds go on too.
    ours, theirs = (model.fit(IMAGES, shuffle=False, verbose=0).history["loss"] for model in (vae, again))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_subclass_has_the_models_presets(tmp_path):
    own = WithExtra.from_preset("vae_digits", extra=4)
    assert own.extra == 4
    for one, two in zip(VAE.from_preset("vae_digits").weights, own.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    own.save_to_preset(tmp_path / "own")
    again = WithExtra.from_preset(tmp_path / "own")
    np.testing.assert_array_equal(again.generate(2, labels=3), own.generate(2, labels=3))


def test_a_model_of_ones_own_records_its_arguments_and_what_derives_from_it_may():
    class Bare(GenerativeModel):
        pass

    class Mine(GenerativeModel):
        def __init__(self, units=8, **kwargs):
            super().__init__(**kwargs)
            self.units = units

    class Derived(Mine):
        def __init__(self, size=2):
            super().__init__(units=size**2)

    class Recording(Mine, own_arguments=True):
        def __init__(self, size=2, **kwargs):
            super().__init__(units=size**2, **kwargs)

    assert Bare(name="m").get_config() == {"name": "m"}
    assert Mine(np.int64(3), name="m").get_config() == {"name": "m", "units": 3}
    assert Derived(3).get_config()["units"] == 9
    assert Recording(3, name="m").get_config() == {"name": "m", "size": 3}
    assert Recording.from_config({"size": 3}).units == 9


class LouderVQVAE(VQVAE):
    def __init__(self, *args, extra=3, **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = extra

    def get_config(self):
        return {**super().get_config(), "extra": self.extra}


def test_a_subclass_is_a_first_stage():
    given = LouderVQVAE(1, codes=4, code_dim=2, architecture_options={"filters": (8,), "patch": 1}, extra=5)
    copied = CodePrior(given, (4, 6, 1), filters=4, blocks=1).first_stage.model
    assert (type(copied), copied.extra) == (LouderVQVAE, 5)
    for one, two in zip(given.weights, copied.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_numbers_of_numpy_are_pythons(tmp_path):
    vae = VAE(np.array([8, 8, 1]), np.int64(2), filters=np.array([4]), hidden_units=np.int32(8), beta=np.float32(0.5))
    plain = VAE([8, 8, 1], 2, filters=[4], hidden_units=8, beta=0.5, name=vae.name)
    assert json.dumps(vae.get_config()) == json.dumps(plain.get_config())
    vae.compile("adam", gradient_accumulation_steps=np.int64(2))
    vae.save(tmp_path / "vae.keras")
    assert keras.saving.load_model(tmp_path / "vae.keras").get_config() == plain.get_config()
    networks = {name: {"filters": np.int64(4)} for name in ("generator_options", "discriminator_options")}
    assert CycleGAN(np.array([24, 32]), np.int64(3), **networks).picture_shape == (24, 32, 3)


def test_classes_are_taken_as_keras_datasets_have_them():
    vae, other = small_vae(num_classes=3), small_vae(num_classes=3)
    other.set_weights(vae.get_weights())
    classes = np.arange(8, dtype="uint8") % 3
    found = []
    for model, given in ((vae, classes), (other, classes[:, None])):
        model.compile("adam")
        found.append(model.evaluate({"image": IMAGES, "label": given}, verbose=0))
    assert found[0] == found[1]
    np.testing.assert_array_equal(vae.generate(8, classes[:, None]), vae.generate(8, classes))
    with pytest.raises(UserError, match="knows the classes 0 to 2"):
        other.fit(IMAGES, 3 + classes[:, None], verbose=0)
    # A single class, or attribute, is a vector of one.
    assert small_vae(num_attributes=1).generate(2, [[0.5], [1.0]]).shape == (2, 8, 8, 1)


@pytest.mark.parametrize("kind", [np.array, lambda text: np.array(text, object), list, tf.constant])
def test_text_is_not_learned_from(kind):
    vae = small_vae(num_classes=3)
    vae.compile("adam")
    classes = np.zeros(8, "int32")
    for use in (
        lambda text: vae.fit({"image": IMAGES, "label": text}, verbose=0),
        lambda text: vae.fit(IMAGES, text, verbose=0),
        lambda text: vae.fit(IMAGES, classes, validation_data=(IMAGES, text), verbose=0),
        lambda text: vae.evaluate(x=IMAGES, y=text, verbose=0),
        lambda text: vae.predict({"image": IMAGES, "label": text}, verbose=0),
    ):
        with pytest.raises(UserError, match=r"but numbers are needed: .*number (the )?classes from 0"):
            use(kind(list("abababab")))


@pytest.mark.parametrize("name", ["num_classes", "num_attributes"])
def test_a_condition_on_nothing_is_no_condition(name):
    with pytest.raises(UserError, match=f"{name} is 0: give a whole number from 1"):
        small_vae(**{name: 0})


def test_what_has_no_shape_beside_the_pictures_is_said():
    vae = small_vae(num_classes=3)
    vae.compile("adam")
    for name, said in (("label", "The labels have no known shape"), ("sample_weight", "has no known shape")):
        data = {"image": IMAGES, "label": np.zeros(8, "float32"), "sample_weight": WEIGHTS}
        signature = {key: tf.TensorSpec(value.shape) for key, value in data.items()} | {name: tf.TensorSpec(None)}
        dataset = tf.data.Dataset.from_generator(lambda data=data: iter([data]), output_signature=signature)
        with pytest.raises(UserError, match=said):
            vae.fit(dataset, verbose=0)


def test_predict_names_the_pictures_in_one_sentence():
    model = AutoencoderKL(1, architecture_options={"filters": (8,), "patch": 2})
    with pytest.raises(
        UserError, match=r'^AutoencoderKL takes dicts .*name the images "image", as kerasgen\.data\.load'
    ):
        model.predict({"images": IMAGES}, verbose=0)
    with pytest.raises(UserError, match="name the images"):
        model.score([{"images": IMAGES}])


@pytest.mark.parametrize("kind", ["paired", "cyclegan", "registration"])
def test_predict_names_what_models_of_two_pictures_take(kind):
    options = {"filters": 4, "blocks": 1}
    model, name, made_by = {
        "paired": lambda: (PairedTranslator(generator_options=options), "a", "load_pairs"),
        "cyclegan": lambda: (
            CycleGAN(24, generator_options=options, discriminator_options={"filters": 4}),
            "b",
            "load_unpaired",
        ),
        "registration": lambda: (Registration(1), "moving", "load_registration"),
    }[kind]()
    images = np.zeros((2, 32, 32, 1 if kind == "registration" else 3), "float32")
    said = rf"takes .*, but got {{}}: make them with kerasgen\.data\.{made_by}"
    for given, got in (({"pictures": images}, r"\['pictures'\]"), ([images, images], "tuple")):
        with pytest.raises(UserError, match="^(This model|CycleGAN|Registration) " + said.format(got)):
            model.predict(given, verbose=0)
    whole = {name: images, "fixed": images} if kind == "registration" else {name: images}
    made = keras.tree.flatten(model.predict(whole, verbose=0))
    assert {m.shape[:3] for m in made} == {(2, 32, 32)}


@pytest.mark.parametrize("batch", [{"image": IMAGES}, IMAGES, (IMAGES,)], ids=["dict", "array", "tuple"])
def test_a_generator_gives_the_batches_that_other_data_gives(batch):
    vae = small_vae()
    vae.compile("adam")
    fitted = vae.fit((batch for _ in range(9)), steps_per_epoch=2, epochs=2, verbose=0)
    assert len(fitted.history["loss"]) == 2
    assert vae.predict((batch for _ in range(3)), steps=1, verbose=0).shape == IMAGES.shape


def test_no_optimizer_is_said():
    vae = small_vae()
    vae.compile(optimizer=None)
    with pytest.raises(UserError, match=r"compile got no optimizer: give one, such as 'adam'"):
        vae.fit(IMAGES, verbose=0)
    assert vae.evaluate(IMAGES, verbose=0)


def test_data_that_is_nothing_is_said():
    vae = small_vae()
    vae.compile("adam")
    for use in (vae.fit, vae.evaluate, vae.predict):
        for nothing in ((), ({},), ([],), (None,), (IMAGES[:0],), ({"image": IMAGES[:0]},)):
            with pytest.raises(UserError, match=r"^No data was given: give arrays, or a data set"):
                use(*nothing, verbose=0)


def test_several_arrays_are_not_taken_for_one():
    vae = small_vae()
    vae.compile("adam")
    for use in (vae.fit, vae.evaluate, vae.predict):
        with pytest.raises(UserError, match=r"^VAE takes dicts .*but got 2 arrays: give labels beside the images"):
            use([IMAGES, IMAGES], verbose=0)


def test_a_discriminator_that_sees_nothing_is_said():
    said = "The discriminator '.*' has no answer to pictures of 16×16 pixels"
    judge = {"discriminator_options": {"filters": 4}}
    network = {"generator_options": {"filters": 4, "blocks": 1}}
    with pytest.raises(UserError, match=said):
        CycleGAN(16, **network, **judge)
    CycleGAN(24, **network, **judge)
    CycleGAN(16, **network, discriminator_options={"filters": 4, "downsamplings": 2})
    pair = {name: np.zeros((2, 16, 16, 3), np.float32) for name in "ab"}
    model = PairedTranslator(**network, **judge, lambda_adversarial=1.0)
    model.compile()
    for use in (model.fit, model.evaluate):
        with pytest.raises(UserError, match=said):
            use(pair, verbose=0)
    options = {"architecture_options": {"filters": (8,), "patch": 2}, "adversarial_weight": 1.0}
    autoencoder = AutoencoderKL(**options, **judge)
    autoencoder.compile()
    with pytest.raises(UserError, match=said):
        autoencoder.fit(pair["a"], verbose=0)


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
    model = CycleGAN(24, generator_options={**PLAIN, "blocks": 1}, discriminator_options=PLAIN)
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


def small_network() -> keras.Sequential:
    return keras.Sequential([keras.Input((8, 8, 3)), k.Conv2D(3, 1)])


def own_loss(targets, outputs):
    return keras.ops.mean(keras.ops.abs(targets - outputs))


class OwnMetric(keras.metrics.MeanSquaredError):
    pass


class OwnOptimizer(keras.optimizers.Adam):
    pass


def same_outputs(one: keras.Model, other: keras.Model) -> bool:
    pictures = RANDOM.random((2, *one.input_shape[1:]), np.float32)
    return np.array_equal(one(pictures), other(pictures))


@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        ("net.h5", {"loss": "mse", "metrics": ["mae"]}),
        ("net.h5", {"loss": own_loss}),
        ("net.keras", {"loss": own_loss}),
        ("net.keras", {"metrics": [OwnMetric()]}),
        ("net.keras", {"optimizer": OwnOptimizer()}),
        pytest.param(
            "net.keras",
            {"loss": lambda targets, outputs: keras.ops.mean(targets - outputs)},
            marks=pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`"),
        ),
    ],
)
def test_a_network_is_loaded_without_what_it_was_compiled_with_that_is_unknown(name, compiled, tmp_path):
    network = small_network()
    network.compile(**{"optimizer": "adam", "loss": "mse", **compiled})
    network.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3)), verbose=0)
    network.save(tmp_path / name)
    with pytest.warns(UserWarning, match="without its loss, metrics and optimizer.*compile the model before you fit"):
        loaded = load_model(tmp_path / name)
    assert not loaded.compiled
    assert same_outputs(loaded, network)


def test_a_known_loss_and_optimizer_are_kept(tmp_path):
    network = small_network()
    network.compile("adam", loss="mse")
    network.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3)), verbose=0)
    network.save(tmp_path / "net.keras")
    loaded = load_model(tmp_path / "net.keras")
    assert loaded.loss == "mse"
    assert int(loaded.optimizer.iterations) == 1


def as_keras_2(path, changes):
    """Give the layers of an .h5 file, and what is in them, the arguments that Keras 2 wrote by class."""

    def change(value):
        if isinstance(value, dict):
            if value.get("class_name") in changes:
                value["config"] |= changes[value["class_name"]]
            for inner in value.values():
                change(inner)
        for inner in value if isinstance(value, list) else ():
            change(inner)

    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)


GROUPS, ROWS = {"groups": 1}, {"time_major": False, "implementation": 2}
KERNEL = {"kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}, "kernel_regularizer": None}


@pytest.mark.parametrize(
    ("shape", "layer", "written"),
    [
        ((8, 8, 3), k.DepthwiseConv2D(3), GROUPS),
        ((8, 8, 3), k.Conv2DTranspose(3, 2), GROUPS),
        ((8, 3), k.Conv1DTranspose(3, 2), GROUPS),
        ((4, 4, 4, 3), k.Conv3DTranspose(3, 2), GROUPS),
        ((8, 8, 3), k.SeparableConv2D(3, 3), GROUPS | KERNEL | {"kernel_constraint": None}),
        ((5, 3), k.LSTM(4), ROWS),
        ((5, 3), k.GRU(4), ROWS),
        ((5, 3), k.SimpleRNN(4), {"time_major": False}),
        ((5, 3), k.Bidirectional(k.LSTM(4)), ROWS),
        ((5, 8, 8, 3), k.TimeDistributed(k.DepthwiseConv2D(3)), GROUPS),
        ((5, 8, 8, 3), k.ConvLSTM2D(4, 3), {"time_major": False}),
    ],
)
def test_layers_of_keras_2_are_those_of_keras_3(shape, layer, written, tmp_path):
    network = keras.Sequential([keras.Input(shape), layer])
    network.save(tmp_path / "net.h5")
    inner = layer.get_config().get("layer")  # of a wrapper
    as_keras_2(tmp_path / "net.h5", {inner["class_name"] if inner else type(layer).__name__: written})
    loaded = load_model(tmp_path / "net.h5")
    assert type(loaded.layers[0]) is type(layer)
    assert same_outputs(loaded, network)


def test_what_keras_2_says_with_a_meaning_is_not_passed_over(tmp_path):
    keras.Sequential([keras.Input((8, 8, 4)), k.Conv2DTranspose(4, 2)]).save(tmp_path / "net.h5")
    as_keras_2(tmp_path / "net.h5", {"Conv2DTranspose": {"groups": 2}})
    with pytest.raises(UserError, match="can't be read as a Keras model"):
        load_model(tmp_path / "net.h5")


@pytest.mark.parametrize(
    ("saved", "called"),
    [("a.h5", "a.keras"), ("a.h5", "A.H5"), ("a.h5", "a.hdf"), ("a.h5", "a.hdf5"), ("a.keras", "A.KERAS")],
)
def test_a_file_is_known_by_its_content(saved, called, tmp_path):
    network = small_network()
    network.save(tmp_path / saved)
    shutil.move(tmp_path / saved, tmp_path / called)
    assert same_outputs(load_model(tmp_path / called), network)


def test_a_folder_that_keras_wrote_is_a_model(tmp_path):
    network = small_network()
    network.save(tmp_path / "net", zipped=False)
    assert same_outputs(load_model(tmp_path / "net"), network)
    assert data_of(tmp_path / "net") is None


def test_a_saved_model_is_said_to_be_one(tmp_path):
    small_network().export(tmp_path / "net", verbose=False)
    for path in (tmp_path / "net", tmp_path / "net" / "saved_model.pb"):
        with pytest.raises(UserError, match="is a SavedModel, which is an artifact already"):
            load_model(path)


def test_a_keras_file_of_keras_2_is_said_to_be_one(tmp_path):
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, k.Conv2D(3, 1)(inputs)).save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "net.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                changes = {"module": "keras.src.engine.functional", "class_name": "Functional"}
                content = json.dumps(json.loads(content) | changes | {"registered_name": "Functional"})
            old.writestr(name, content)
    with pytest.raises(UserError, match=r"it is from Keras 2, .*\): save it there as \.h5\.$"):
        load_model(tmp_path / "net.keras")


def test_weights_alone_are_not_a_model(tmp_path):
    small_network().save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(UserError, match="it holds weights without their network"):
        load_model(tmp_path / "net.weights.h5")
