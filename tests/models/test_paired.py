"""Paired translation: the classical answer that each generator begins as, its losses, scores, files and exports."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from sklearn.datasets import load_sample_image

from kerasgen.data import load_paired
from kerasgen.errors import UserError
from kerasgen.export import available_formats, export_model, verify
from kerasgen.models import PairedTranslator
from kerasgen.networks.inpainting import inpainter
from kerasgen.networks.restoration import restorer, super_resolver

NOISE = {"kind": "noise", "sigma": 0.1}
TASKS = {
    "super_resolution": (
        {"generator_type": "super_resolver", "generator_options": {"filters": 8, "blocks": 1}},
        "shrink",
    ),
    "denoising": ({"generator_type": "restorer", "generator_options": {"filters": 8, "blocks": 1}}, "noise"),
    "enhancement": (
        {"generator_type": "restorer", "generator_options": {"filters": 8, "blocks": 1, "curve": True}},
        "low_light",
    ),
    "inpainting": (
        {"generator_type": "inpainter", "generator_options": {"filters": (8, 8)}, "lambda_l2": 1.0},
        "hole",
    ),
    "pix2pix": (
        {
            "generator_type": "unet",
            "generator_options": {"filters": 8, "downsamplings": 3},
            "discriminator_options": {"filters": 8, "downsamplings": 1},
            "lambda_l1": 100.0,
            "lambda_adversarial": 1.0,
        },
        "low_light",
    ),
}


def photo(height: int = 64, width: int = 96) -> np.ndarray:
    """A piece of china.jpg, float32 [1, height, width, 3] in [-1, 1]."""
    return load_sample_image("china.jpg")[None, 120 : 120 + height, 200 : 200 + width] / np.float32(127.5) - 1


def disturbed(network: keras.Model) -> keras.Model:
    """The network with its zeros replaced, so that all of it matters."""
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        if not np.any(variable):
            variable.assign(random.normal(0, 0.02, variable.shape))
    return network


@pytest.mark.parametrize("scale", [2, 4])
def test_an_untrained_super_resolver_is_pillows_bicubic(scale):
    image = photo()[0]
    enlarged = super_resolver(scale, filters=4, blocks=1)(image[None])[0].numpy()
    planes = [Image.fromarray(image[..., c]).resize((96 * scale, 64 * scale), Image.BICUBIC) for c in range(3)]
    inner = slice(2 * scale, -2 * scale)  # Pillow treats the rim in its own way
    np.testing.assert_allclose(enlarged[inner, inner], np.stack(planes, -1)[inner, inner], atol=1e-5)


@pytest.mark.parametrize("curve", [False, True])
def test_an_untrained_restorer_leaves_pictures_alone(curve):
    image = photo()
    np.testing.assert_allclose(restorer(filters=4, blocks=1, curve=curve)(image), image, atol=1e-6)


def test_inpainting_keeps_known_pixels_exactly_and_begins_harmonic():
    rows, columns = np.mgrid[0:64, 0:96].astype("float32")
    plane = np.stack([rows / 64, columns / 96, (rows + columns) / 160], -1)[None] - 0.5
    known = np.ones((1, 64, 96, 1), np.float32)
    known[:, 20:44, 30:60] = -1
    hidden = np.where(known > 0, plane, -1.0)
    # Within a hole, a plane is its own harmonic surface.
    filled = inpainter(filters=(4, 4, 4))(np.concatenate([hidden, known], -1).astype("float32")).numpy()
    assert np.abs(filled - plane).max() < 0.06
    image = photo()
    network = disturbed(inpainter(filters=(4, 4, 4)))
    filled = network(np.concatenate([np.where(known > 0, image, 0.3), known], -1)).numpy()
    np.testing.assert_array_equal(filled[known[..., 0] > 0], image[known[..., 0] > 0])
    other = network(np.concatenate([np.where(known > 0, image, -0.7), known], -1)).numpy()
    np.testing.assert_allclose(filled, other, atol=1e-6)  # what stands in the hole is not looked at


def test_inpainting_moves_with_light_and_contrast():
    image, known = photo(64, 64), np.ones((1, 64, 64, 1), np.float32)
    known[:, 16:48, 16:48] = -1
    filled = inpainter(filters=(4, 4, 4))(np.concatenate([image, known], -1)).numpy()
    brighter = inpainter(filters=(4, 4, 4))(np.concatenate([0.5 * image + 0.2, known], -1)).numpy()
    np.testing.assert_allclose(brighter, 0.5 * filled + 0.2, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_task_trains_saves_and_goes_on_the_same(task, tmp_path):
    config, kind = TASKS[task]
    keras.utils.set_random_seed(0)
    dataset = load_paired("pictures", {"kind": kind}, image_size=64, batch_size=4, start_step=0)
    model = PairedTranslator(**config)
    model.compile_for_recipe(40, 1, learning_rate=5e-4)
    before = model.evaluate(dataset.take(2), return_dict=True, verbose=0)
    history = model.fit(dataset, steps_per_epoch=40, epochs=1, verbose=0).history
    assert all(np.isfinite(values[-1]) for values in history.values())
    after = model.evaluate(dataset.take(2), return_dict=True, verbose=0)
    assert after["l1_loss"] < before["l1_loss"]
    assert after["psnr_input"] == pytest.approx(before["psnr_input"], abs=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    batch = next(iter(dataset))
    np.testing.assert_allclose(loaded.translate(batch["a"]), model.translate(batch["a"]), atol=1e-6)
    assert len(loaded.optimizers) == (2 if task == "pix2pix" else 1)


def test_pix2pix_losses_are_the_papers():
    config, kind = TASKS["pix2pix"]
    model = PairedTranslator(**config)
    batch = next(iter(load_paired("pictures", {"kind": kind}, image_size=32, batch_size=2)))
    values, fake = model.generator_losses(batch["a"], batch["b"])
    logits = model.discriminator(np.concatenate([batch["a"], fake], -1)).numpy()
    adversarial = np.log1p(np.exp(-logits)).mean((1, 2, 3))
    l1 = np.abs(batch["b"] - fake).mean((1, 2, 3))
    np.testing.assert_allclose(values["adversarial_loss"], adversarial, rtol=1e-5)
    np.testing.assert_allclose(values["loss"], 100 * l1 + adversarial, rtol=1e-5)


def test_score_is_scikit_images_psnr_beside_the_inputs():
    model = PairedTranslator(**TASKS["denoising"][0])  # untrained: the identity
    dataset = load_paired("pictures", NOISE, "test", batch_size=16).take(1)
    scores = model.score(dataset)
    batch = next(iter(dataset))
    expected = [
        peak_signal_noise_ratio(b, a, data_range=2.0)
        for a, b in zip(batch["a"].numpy(), batch["b"].numpy(), strict=True)
    ]
    assert scores["psnr"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert scores["psnr_input"] == pytest.approx(scores["psnr"], abs=1e-4)
    assert scores["psnr_best_gain"] > scores["psnr_input"]
    assert scores["pictures"] == 16


@pytest.mark.slow
def test_the_hole_alone_is_scored():
    model = PairedTranslator(**TASKS["inpainting"][0])
    dataset = load_paired("pictures", {"kind": "hole"}, "test", batch_size=16).take(1)
    scores, batch = model.score(dataset), next(iter(dataset))
    a, b = batch["a"].numpy(), batch["b"].numpy()
    hole = a[..., 3] < 0
    squares = []
    for image, truth, inside in zip(a[..., :3], b, hole, strict=True):
        squares.append(((image[~inside].mean(0) - truth[inside]) / 2) ** 2)
    assert scores["psnr_mean_fill"] == pytest.approx(-10 * np.log10(np.concatenate(squares).mean()), abs=1e-3)
    assert scores["pictures"] == 16
    assert scores["psnr"] > scores["psnr_mean_fill"] > scores["psnr_input"]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("format", available_formats())
def test_generators_export_and_pass_verify(task, format, tmp_path):
    model = PairedTranslator(**TASKS[task][0])
    network = disturbed(model.networks_to_export()["generator_a2b"].network)
    batch = next(iter(load_paired("pictures", {"kind": TASKS[task][1]}, image_size=64, batch_size=2)))
    artifact = export_model(network, tmp_path / task, format=format, inputs=batch["a"].numpy())
    assert verify(artifact.path, network, inputs=batch["a"].numpy()).passed


def test_wrong_input_is_said():
    with pytest.raises(UserError, match="generator_type is 'cnn': choose one of restorer"):
        PairedTranslator("cnn")
    model = PairedTranslator(**TASKS["inpainting"][0])
    model.compile_for_recipe(1, 1)
    with pytest.raises(UserError, match="images \"a\" have 3 channels, but the generator 'inpainter' takes 4"):
        model.fit(load_paired("pictures", NOISE, batch_size=2), steps_per_epoch=1, verbose=0)
    with pytest.raises(UserError, match=r"make them with kerasgen\.data\.load_pairs"):
        model.evaluate(tf.data.Dataset.from_tensors({"image": photo()}), verbose=0)
    with pytest.raises(UserError, match="at least one batch"):
        model.score([])


def test_a_pair_that_comes_back_exactly_makes_nothing_infinite():
    """One unedited photograph among the pairs: an untrained restorer leaves pictures as they are."""
    model = PairedTranslator("restorer", generator_options={"filters": 4, "blocks": 1})
    model.compile_for_recipe(1, 1)
    a = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32")
    b = a.copy()
    b[1:] = np.clip(b[1:] + 0.1, -1, 1)
    found = model.evaluate(tf.data.Dataset.from_tensor_slices({"a": a, "b": b}).batch(2), return_dict=True, verbose=0)
    errors = np.maximum(np.square((a - b) / 2).mean((1, 2, 3)), 1e-12)
    assert found["psnr"] == pytest.approx(np.mean(-10 * np.log10(errors)), abs=1e-3)
    assert found["psnr_input"] == pytest.approx(found["psnr"])


def test_a_discriminators_loss_is_scaled_in_float16_too():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        options = {"filters": 4, "norm": "none", "downsamplings": 1}
        model = PairedTranslator(
            "restorer",
            generator_options={"filters": 4, "blocks": 1},
            discriminator_options=options,
            lambda_adversarial=1.0,
        )
        model.compile_for_recipe(1, 1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(isinstance(one, keras.optimizers.LossScaleOptimizer) for one in model.optimizers)


def test_a_degradation_of_another_factor_than_the_generators_is_said():
    model = PairedTranslator("super_resolver", generator_options={"scale": 2, "filters": 4, "blocks": 1})
    model.compile_for_recipe(1, 1)
    pair = {"a": np.zeros((1, 8, 8, 3), "float32"), "b": np.zeros((1, 24, 24, 3), "float32")}
    with pytest.raises(UserError, match=r'the generator makes \(16, 16, 3\), but "b" are \(24, 24, 3\)'):
        model.fit(tf.data.Dataset.from_tensors(pair), verbose=0)
