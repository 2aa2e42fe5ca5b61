"""Pictures of another range, and labels outside the classes, get one sentence wherever they come in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.models import VAE, CycleGAN, PairedTranslator, Registration
from kerasgen.networks import conv_encoder

UNIT = r"but this model needs floats in \[0, 1\]: divide pictures of 0 to 255 by 255\."
SIGNED = r"but this model needs floats in \[-1, 1\]: divide pictures of 0 to 255 by 127\.5 and subtract 1\."
RAMP = np.linspace(0, 255, 4 * 16 * 16 * 3).reshape(4, 16, 16, 3)
WRONG = {"uint8": RAMP.astype("uint8"), "float": RAMP.astype("float32"), "int": RAMP.astype("int32")}

RESTORER = {"filters": 4, "blocks": 1}


def words(kind, needed, what="images.*"):
    found = {"uint8": "are uint8", "int": "are int32", "float": "reach from 0 to 255"}[kind]
    return rf"^The {what} {found}, {needed}$"


def small_cyclegan():
    options = {"filters": 4, "norm": "none"}
    generator = {**options, "blocks": 1, "downsamplings": 0}
    return CycleGAN(16, generator_options=generator, discriminator_options={**options, "downsamplings": 2})


@pytest.fixture(scope="module")
def signed_models():
    """By name: the model, and what it trains on, made of pictures."""
    models = {
        "cyclegan": (small_cyclegan(), lambda x: {"a": x, "b": np.zeros(x.shape, "float32")}),
        "paired": (
            PairedTranslator(generator_options=RESTORER),
            lambda x: {"a": x, "b": x},
        ),
        "registration": (Registration(filters=(4, 4)), lambda x: {"moving": x, "fixed": x}),
    }
    for model, _ in models.values():
        model.compile()
    return models


@pytest.mark.parametrize("kind", WRONG)
def test_a_vae_takes_floats_from_0_to_1(kind, small_vae, digits):
    vae = small_vae(num_classes=None)
    vae.compile("adam")
    images = (255 * digits["image"][:16]).astype(WRONG[kind].dtype)
    calls = (vae.encode, vae.reconstruct, vae.log_weights, vae.predict, vae.evaluate, vae.fit)
    for call in calls:
        options = {} if call in calls[:3] else {"verbose": 0}
        with pytest.raises(UserError, match=words(kind, UNIT, "images")):
            call(images, **options)


@pytest.mark.parametrize("kind", ["uint8", "int", pytest.param("float", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["cyclegan", "paired", "registration"])
def test_the_others_take_floats_from_minus_1_to_1(kind, name, signed_models):
    model, data = signed_models[name]
    images = WRONG[kind]
    uses = [lambda: model.fit(data(images), verbose=0), lambda: model.evaluate(data(images), verbose=0)]
    uses += [lambda: model.align(images, images)] if name == "registration" else [lambda: model.translate(images)]
    for use in uses:
        with pytest.raises(UserError, match=words(kind, SIGNED, ".*")):
            use()


def test_a_little_beyond_the_range_passes(small_vae, digits, signed_models):
    vae = small_vae(num_classes=None)
    vae.encode(digits["image"] * 1.005)
    signed_models["paired"][0].translate(np.float32([[[[1.01, -1.01, 0.0]] * 4] * 4]))


def test_the_place_of_the_batch_does_not_matter(small_vae, digits):
    vae = small_vae()
    vae.compile("adam")
    labels = digits["label"].copy()
    labels[400] = 10
    with pytest.raises(UserError, match=r"^The labels reach from 0 to 10, but this model knows the classes 0 to 9"):
        vae.fit(tf.data.Dataset.from_tensor_slices({**digits, "label": labels}).batch(64), verbose=0)
    vae.evaluate(digits, verbose=0)  # and the model goes on to work


@pytest.mark.slow
def test_xla_refuses_too(small_vae, digits):
    """It drops assertions, so that they stand outside of what it compiles."""
    vae = small_vae()
    vae.compile("adam")
    vae.jit_compile = True  # as `train(jit=True)` does
    vae.fit(digits, batch_size=256, verbose=0)
    with pytest.raises(UserError, match="The images reach from 0 to 255"):
        vae.fit({**digits, "image": 255 * digits["image"]}, batch_size=256, verbose=0)
    with pytest.raises(UserError, match="The labels reach from 1 to 10"):
        vae.fit({**digits, "label": 1 + digits["label"]}, batch_size=256, verbose=0)


@pytest.mark.parametrize("shift", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (-1, 0.5))])
def test_labels_outside_the_classes_are_refused(shift, small_vae, digits):
    vae = small_vae()
    vae.compile("adam")
    images, labels = digits["image"], digits["label"] + shift
    assert {0, 9} <= set(digits["label"])
    uses = [
        lambda: vae.fit(images, labels, verbose=0),
        lambda: vae.fit(digits, validation_data=(images, labels), verbose=0),
        lambda: vae.evaluate({"image": images, "label": labels}, verbose=0),
        lambda: vae.encode(images, labels),
        lambda: vae.reconstruct(images, labels),
        lambda: vae.decode(np.zeros((512, 4)), labels),
        lambda: vae.generate(512, labels),
    ]
    sentence = f"^The labels reach from {shift:g} to {9 + shift:g}, but this model knows the classes 0 to 9"
    for use in uses:
        with pytest.raises(UserError, match=sentence):
            use()


def test_vectors_of_attributes_are_0_and_1(small_vae, digits):
    vae = small_vae(num_classes=2)
    signed = np.where(np.arange(1024).reshape(512, 2) % 3 == 0, 1, -1)
    with pytest.raises(UserError, match="The labels reach from -1 to 1, but vectors from 0 to 1 are needed"):
        vae.encode(digits["image"], signed)
    missing = np.where(np.arange(1024).reshape(512, 2) % 3 == 0, np.nan, 1.0)
    with pytest.raises(UserError, match="The labels reach from nan to nan, but vectors from 0 to 1 are needed"):
        vae.encode(digits["image"], missing)


@pytest.mark.parametrize("weight", [np.ones((512, 1)), np.ones((512, 2))])
def test_a_sample_weight_is_one_number_an_example(weight, small_vae, digits):
    vae = small_vae()
    vae.compile("adam")
    with pytest.raises(UserError, match=r"sample_weight has the shape \(.*\): give one number for each example"):
        vae.fit({**digits, "sample_weight": weight}, verbose=0)


@pytest.mark.parametrize("name", ["vae", "cyclegan", "paired", "registration"])
@pytest.mark.parametrize("given", ["loss", "metrics", "loss_weights", "weighted_metrics"])
def test_compile_refuses_what_the_models_have_of_their_own(name, given, small_vae, signed_models):
    model = small_vae() if name == "vae" else signed_models[name][0]
    with pytest.raises(UserError, match=f"compile got {given}='mse', but {type(model).__name__} computes its own"):
        model.compile(**{given: "mse"})


def test_a_loss_in_keras_place_is_refused(small_vae):
    with pytest.raises(UserError, match="compile got loss='mse'"):
        small_vae().compile("adam", "mse")


def regularized(model, name, weight):
    """The model, with the same penalty on a kernel of its first network."""
    network = {"vae": "encoder", "cyclegan": "generator_a2b", "paired": "generator_a2b", "registration": "network"}
    kernel = next(v for v in getattr(model, network[name]).trainable_variables if v.name == "kernel")
    kernel.regularizer = keras.regularizers.L2(weight)
    return kernel


@pytest.mark.parametrize(
    "name", ["vae", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cyclegan", "paired", "registration"))]
)
def test_a_regularizer_adds_its_gradient_and_its_loss(name, small_vae, digits):
    """One SGD step with a penalty, and one without it: they differ by rate · 2 · weight · kernel."""
    rate, weight = 0.1, 0.05
    pictures = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32")
    makers = {
        "vae": (small_vae, {key: value[:8] for key, value in digits.items()}),
        "cyclegan": (small_cyclegan, {"a": pictures, "b": pictures[::-1]}),
        "paired": (
            lambda: PairedTranslator(generator_options=RESTORER),
            {"a": pictures, "b": pictures},
        ),
        "registration": (lambda: Registration(filters=(4, 4)), {"moving": pictures, "fixed": pictures[::-1]}),
    }
    make, data = makers[name]
    kernels, losses, before = [], [], None
    for penalty in (0.0, weight):
        keras.utils.set_random_seed(0)
        model = make()
        kernel = regularized(model, name, penalty)
        before = kernel.numpy()
        model.compile(*[keras.optimizers.SGD(rate) for _ in range(2 if name == "cyclegan" else 1)])
        history = model.fit(data, batch_size=8, epochs=1, verbose=0, shuffle=False).history
        kernels.append(kernel.numpy())
        losses.append(history["generator_loss" if name == "cyclegan" else "loss"][0])
    np.testing.assert_allclose(kernels[1] - kernels[0], -rate * 2 * weight * before, atol=1e-6)
    assert losses[1] - losses[0] == pytest.approx(weight * np.sum(before**2), rel=1e-2, abs=1e-4)


def test_an_activity_loss_is_honored_where_a_network_runs_once(digits):
    """One SGD step with a penalty on z_mean, and one without it: its bias differs by rate · 2 · weight · its mean."""
    rate, weight, images = 1e-3, 0.1, digits["image"]
    biases, before = [], None
    for activity in (None, keras.regularizers.L2(weight)):
        keras.utils.set_random_seed(0)
        encoder = conv_encoder((8, 8, 1), 4, (8,), 16)
        encoder.get_layer("z_mean").activity_regularizer = activity
        vae = VAE((8, 8, 1), 4, filters=(8,), hidden_units=16, encoder=encoder)
        vae.compile(keras.optimizers.SGD(rate))
        before = vae.encode(images).mean
        history = vae.fit(images, batch_size=512, verbose=0).history
        biases.append(encoder.get_layer("z_mean").bias.numpy())
    np.testing.assert_allclose(biases[1] - biases[0], -rate * 2 * weight * before.mean(0), rtol=1e-3, atol=1e-6)
    added = history["loss"][0] - history["reconstruction_loss"][0] - history["kl_loss"][0]
    assert added == pytest.approx(weight * np.square(before).sum() / 512, rel=1e-3)


def test_an_activity_loss_of_a_network_that_runs_again_is_refused():
    model = small_cyclegan()
    model.generator_a2b.get_layer("stem_conv").activity_regularizer = keras.regularizers.L2(0.1)
    model.compile()
    pictures = np.zeros((2, 16, 16, 3), "float32")
    with pytest.raises(UserError, match=r"add_loss or activity_regularizer.* runs networks again in a step"):
        model.fit({"a": pictures, "b": pictures}, verbose=0)
