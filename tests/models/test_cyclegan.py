import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.models import CycleGAN


def small(size=24, channels=3, **options):
    networks = {"generator_options": {"filters": 4, "blocks": 1}, "discriminator_options": {"filters": 4}}
    return CycleGAN(size, channels, **{**networks, "pool_size": 3, **options})


def photographs(size=24, channels=3):
    from sklearn.datasets import load_sample_images

    china, flower = (photo.astype("float32") / 127.5 - 1 for photo in load_sample_images().images)
    places = range(0, 160, 20)
    crops = [np.stack([photo[i : i + size, 2 * i : 2 * i + size] for i in places]) for photo in (china, flower)]
    return [np.concatenate([crop, crop[..., :1]], -1)[..., :channels] for crop in crops]


def dataset(a, b, batch=2, **more):
    return tf.data.Dataset.from_tensor_slices({"a": a, "b": b, **more}).batch(batch, drop_remainder=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"adversarial_loss": "vanilla", "lambda_identity": 0.0}, marks=pytest.mark.slow),
        pytest.param({"adversarial_loss": "wgan_gp", "channels": 1}, marks=pytest.mark.slow),
    ],
)
def test_training_reports_finite_losses_and_paired_quality(options):
    model = small(**options)
    a, b = photographs(channels=model.channels)
    model.compile()
    pairs = dataset(a, b, truth_a=a, truth_b=b)
    history = model.fit(pairs, validation_data=pairs, verbose=0, shuffle=False).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert ("identity_a" in history) == bool(model.lambda_identity)
    quality = model.evaluate(pairs, return_dict=True, verbose=0)
    expected = tf.image.psnr(model.translate(a) + 1, b + 1, 2.0)
    np.testing.assert_allclose(quality["psnr_a2b"], np.mean(expected), rtol=1e-4)
    assert {"ssim_a2b", "psnr_b2a", "ssim_b2a", "cycle_a"} <= set(quality)


@pytest.mark.slow
def test_a_saved_model_goes_on_as_the_original(tmp_path):
    a, b = photographs()
    model = small()
    model.compile()
    model.fit(dataset(a, b), verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(dataset(b, a), verbose=0, shuffle=False)
    for original, copy in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(copy, original, err_msg=original.path)
    for original, copy in zip(model.optimizers, loaded.optimizers, strict=True):
        for left, right in zip(original.variables, copy.variables, strict=True):
            np.testing.assert_array_equal(right, left, err_msg=left.path)


@pytest.mark.slow
def test_alternating_updates_one_side_at_a_time():
    a, b = photographs()
    model = small(alternate_every=2)
    model.compile()
    for turn in ("discriminator", "discriminator", "generator", "generator", "discriminator"):
        before = {
            name: [w.numpy() for w in getattr(model, f"{name}_variables")] for name in ("generator", "discriminator")
        }
        model.train_on_batch({"a": a[:2], "b": b[:2]})
        for name, old in before.items():
            moved = any((w.numpy() != o).any() for w, o in zip(getattr(model, f"{name}_variables"), old, strict=True))
            assert moved == (name == turn)


@pytest.mark.slow
def test_sample_weights_weigh_each_place_of_the_batch():
    a, b = photographs()
    found = []
    for count, more in ((1, {}), (2, {"sample_weight": np.float32([2, 0])})):
        keras.utils.set_random_seed(0)
        model = small(pool_size=0)
        model.compile(*(keras.optimizers.SGD(1e-3) for _ in range(2)))
        history = model.fit(dataset(a[:count], b[:count], count, **more), verbose=0).history
        variables = model.generator_variables + model.discriminator_variables
        found.append((history, [v.numpy() for v in variables]))
    # The second pair weighs nothing, so that the step is that of the first one alone.
    (history, alone), (weighted_history, weighted) = found
    for name in ("generator_loss", "discriminator_loss"):
        assert weighted_history[name] == pytest.approx(history[name], rel=1e-4)
    for one, other in zip(alone, weighted, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_translation_keeps_any_size():
    model = small()
    images = np.random.default_rng(0).uniform(-1, 1, (2, 27, 41, 3)).astype("float32")
    outputs = model.translate(images, "b2a")
    assert outputs.shape == images.shape
    padded = np.pad(images, [(0, 0), (0, 1), (0, 3), (0, 0)], mode="symmetric")
    np.testing.assert_allclose(outputs, model.generator_b2a(padded)[:, :27, :41], atol=1e-6)
    np.testing.assert_allclose(model.translate(images[0], "b2a"), outputs[0], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: small(size=26), "multiples of 4"),
        (lambda: small(adversarial_loss="hinge"), "adversarial_loss is 'hinge'"),
        (lambda: small(generator_type="vit"), "generator_type is 'vit'"),
        (lambda: small(lambda_cycle=-1.0), "lambda_cycle is -1.0"),
        (lambda: small().translate(np.zeros((8, 8, 3), "float32"), "a2c"), "direction='a2c'"),
        (lambda: small().translate(np.zeros((8, 8, 1), "float32")), r"\(8, 8, 1\)"),
        (lambda: small().translate(np.zeros((8, 8, 3), "uint8")), "uint8"),
        (lambda: small().preview(), "inputs="),
        (lambda: small().train_step({"a": np.zeros((1, 8, 8, 3)), "b": np.zeros((1, 8, 8, 3))}), "8×8"),
        (lambda: small().train_step((1, 2)), "load_unpaired"),
        (lambda: small().test_step({"a": np.zeros((1, 24, 24, 1)), "b": np.zeros((1, 24, 24, 1))}), "1 channels"),
    ],
)
def test_mistakes_get_one_sentence(call, words):
    with pytest.raises(UserError, match=words):
        call()
