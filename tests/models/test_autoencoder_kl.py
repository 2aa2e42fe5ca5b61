"""AutoencoderKL: its losses and its posterior by NumPy, sizes, the discriminator's part, what it says of itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.metrics import psnr, ssim
from kerasgen.models import AutoencoderKL
from kerasgen.models.translation import whole_memory
from kerasgen.networks import residual_decoder, residual_encoder, tiny_decoder, tiny_encoder
from kerasgen.samplers import SAMPLERS

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(6, 16, 24, 1)).astype("float32")
OPTIONS = {"architecture_options": {"filters": (8, 8), "patch": 1}}
JUDGED = {"adversarial_weight": 0.5, "discriminator_options": {"filters": 4, "downsamplings": 1, "norm": "none"}}


def small(**options) -> AutoencoderKL:
    """A model whose log-variances aren't all the same."""
    keras.utils.set_random_seed(0)
    model = AutoencoderKL(1, **OPTIONS, **options)
    random = np.random.default_rng(1)
    for network in (model.encoder, model.decoder):
        network.set_weights([weight + random.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
    return model


@pytest.fixture(scope="module")
def model() -> AutoencoderKL:
    return small(kl_weight=1e-3)


def numpy_kl(mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    return 0.5 * (mean.astype("float64") ** 2 + np.exp(log_var.astype("float64")) - 1 - log_var)


def test_tiny_networks_have_taesds_weights():
    assert tiny_encoder().count_params() == 1_222_532
    assert tiny_decoder().count_params() == 1_222_531
    model = AutoencoderKL(architecture="tiny", architecture_options={"filters": (4, 4), "blocks": 1})
    noise = model.encode(IMAGES[:1].repeat(3, axis=-1)).log_var - 2 * np.log(model.latent_scale)
    np.testing.assert_array_equal(noise, -30.0)  # a point


def test_tiny_latents_are_clamped_softly():
    decoder = tiny_decoder(1, 1, filters=(4, 4), blocks=1)
    z = RANDOM.normal(0, 5, (2, 4, 4, 1)).astype("float32")
    clamped = keras.Model(decoder.input, decoder.get_layer("clamped").output)(z)
    np.testing.assert_allclose(clamped, 3 * np.tanh(z / 3), atol=1e-5)


@pytest.mark.parametrize("reconstruction", ["l1", "l2"])
def test_losses_are_a_mean_over_pixels_and_a_sum_over_latents(reconstruction):
    model = small(kl_weight=1e-3, reconstruction=reconstruction)
    model.compile(run_eagerly=True)
    found = model.evaluate(
        tf.data.Dataset.from_tensor_slices({"image": IMAGES}).batch(4), return_dict=True, verbose=0
    )
    own = model.encoder(IMAGES)
    mean, log_var = np.asarray(own["z_mean"]), np.asarray(own["z_log_var"])
    assert mean.shape == log_var.shape == (6, 8, 12, 4)
    made = np.asarray(model.decoder(mean))
    error = np.abs(IMAGES - made) if reconstruction == "l1" else (IMAGES - made) ** 2
    kl = numpy_kl(mean, log_var).sum(axis=(1, 2, 3)).mean()
    assert found["reconstruction_loss"] == pytest.approx(error.mean(), rel=1e-4)
    assert found["kl_loss"] == pytest.approx(kl, rel=1e-4)
    assert found["loss"] == pytest.approx(error.mean() + 1e-3 * kl, rel=1e-4)
    assert found["psnr"] == pytest.approx(psnr(np.clip(made, 0, 1), IMAGES).mean(), rel=1e-4)
    assert found["ssim"] == pytest.approx(ssim(np.clip(made, 0, 1), IMAGES).mean(), abs=1e-4)


def test_a_posterior_samples_and_weighs_in_units_of_variance_1(model):
    model.latent_moments.assign([0.5, 4.25])  # a variance of 4
    assert model.latent_scale == pytest.approx(0.5)
    own = model.encoder(IMAGES)
    mean, log_var = np.asarray(own["z_mean"]), np.asarray(own["z_log_var"])
    posterior = model.encode(IMAGES)
    np.testing.assert_allclose(posterior.mode(), mean / 2, atol=1e-6)
    np.testing.assert_allclose(posterior.kl(), numpy_kl(mean, log_var), atol=1e-4)
    draws = np.stack([posterior.sample(seed) for seed in range(400)])
    deviation = np.exp(log_var / 2) / 2
    off = (draws.mean(axis=0) - mean / 2) / deviation * np.sqrt(400)  # standard normal
    assert abs(off.mean()) < 0.2
    assert 0.9 < off.std() < 1.1
    np.testing.assert_allclose(draws.std(axis=0) / deviation, 1, atol=0.25)
    np.testing.assert_array_equal(posterior.sample(3), draws[3])
    expected = np.clip(np.asarray(model.decoder(mean)), 0, 1)
    np.testing.assert_allclose(model.decode(posterior.mode()), expected, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(IMAGES), expected, atol=1e-5)


def test_exported_networks_speak_of_the_same_latents(model):
    model.latent_moments.assign([0.5, 4.25])
    networks, posterior = model.networks_to_export(), model.encode(IMAGES)
    out = networks["encoder"].network(IMAGES)
    np.testing.assert_allclose(out["z_mean"], posterior.mean, atol=1e-5)
    np.testing.assert_allclose(out["z_log_var"], posterior.log_var, atol=1e-5)
    decoder = networks["decoder"]
    np.testing.assert_allclose(decoder.network(posterior.mean)["image"], model.decode(posterior.mean), atol=1e-5)
    np.testing.assert_allclose(decoder.also["reconstruct"](IMAGES)["image"], model.reconstruct(IMAGES), atol=1e-5)


def test_training_measures_the_latents_scale():
    model = small()
    model.compile(keras.optimizers.SGD(0.0))
    batches = tf.data.Dataset.from_tensor_slices({"image": IMAGES}).batch(3)
    model.fit(batches, epochs=10, verbose=0)
    assert abs(model.latent_scale - 1) > 0.1  # or there would be nothing to measure
    assert model.encode(IMAGES).sample(0).std() == pytest.approx(1, abs=0.03)
    mean, square = (float(moment) for moment in model.latent_moments.numpy())
    assert mean == pytest.approx(float(np.asarray(model.encoder(IMAGES)["z_mean"]).mean()), abs=0.05)
    assert square > mean**2


@pytest.mark.parametrize("side", [(16, 16), (24, 40), (2, 2)])
def test_any_size_that_divides(model, side):
    images = RANDOM.uniform(size=(2, *side, 1)).astype("float32")
    latents = model.encode(images).mode()
    assert latents.shape == (2, side[0] // 2, side[1] // 2, 4)
    assert model.decode(latents).shape == images.shape


def test_another_size_is_refused_in_a_sentence_and_padded_where_only_pictures_come_back(model):
    odd = IMAGES[:, :15, :21]
    with pytest.raises(UserError, match="15×21, but this model makes one place of its latents of 2×2 pixels"):
        model.encode(odd)
    made = model.reconstruct(odd)
    assert made.shape == odd.shape
    padded = np.pad(odd, [(0, 0), (0, 1), (0, 1), (0, 0)], mode="symmetric")
    np.testing.assert_allclose(made, model.reconstruct(padded)[:, :15, :21], atol=1e-6)


def test_a_large_image_goes_strip_by_strip_and_gives_the_same_numbers(model, capsys):
    image = RANDOM.uniform(size=(1, 160, 64, 1)).astype("float32")
    memory = int(whole_memory(model.encoder, 160, 64) * 0.9)
    whole = model.encode(image)
    assert "strips" not in capsys.readouterr().out
    strips = model.encode(image, memory=memory)
    np.testing.assert_allclose(strips.mean, whole.mean, atol=1e-5)
    np.testing.assert_allclose(strips.log_var, whole.log_var, atol=1e-5)
    assert whole.mean.std() > 0.1
    np.testing.assert_allclose(model.decode(whole.mean, memory=memory), model.decode(whole.mean), atol=1e-5)
    odd = image[:, :157, :61]
    np.testing.assert_allclose(model.reconstruct(odd, memory=memory), model.reconstruct(odd), atol=1e-5)
    assert capsys.readouterr().out.count("strips") == 4


def weights_after(model: AutoencoderKL, steps: int, **rates: float) -> dict[str, bool]:
    """Train, and tell which networks have changed."""
    optimizers = [keras.optimizers.SGD(rates[name]) for name in ("autoencoder", "discriminator")]
    model.compile(*optimizers, run_eagerly=True)  # few steps, which a graph would take longer to be made for
    networks = {"decoder": model.decoder, "discriminator": model.discriminator}
    before = {name: network.get_weights() for name, network in networks.items()}
    model.fit(IMAGES[:4], batch_size=4, epochs=steps, verbose=0)
    return {
        name: any((a != b).any() for a, b in zip(before[name], network.get_weights(), strict=True))
        for name, network in networks.items()
    }


def test_each_side_learns_by_its_own_step_alone():
    rates = {"autoencoder": 0.1, "discriminator": 0.0}
    assert weights_after(small(**JUDGED), 1, **rates) == {"decoder": True, "discriminator": False}
    rates = {"autoencoder": 0.0, "discriminator": 0.1}
    assert weights_after(small(**JUDGED), 1, **rates) == {"decoder": False, "discriminator": True}


def test_the_discriminator_begins_when_it_is_told_to():
    rates = {"autoencoder": 0.1, "discriminator": 0.1}
    judged, alone = small(**JUDGED, adversarial_start=1), small()
    assert not weights_after(judged, 1, **rates)["discriminator"]
    alone.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    alone.fit(IMAGES[:4], batch_size=4, verbose=0)
    for one, two in zip(judged.decoder.get_weights(), alone.decoder.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert weights_after(judged, 2, **rates)["discriminator"]


def test_the_adversarial_gradient_is_made_as_large_as_the_reconstructions():
    """At the decoder's last kernel, whose step is the sum of the two; without a discriminator it is one of them."""
    with_, without = small(**(JUDGED | {"adversarial_weight": 0.01})), small()
    with_.discriminator.set_weights(
        [w + 0.1 * RANDOM.normal(size=w.shape) for w in with_.discriminator.get_weights()]
    )
    steps = []
    for model in (with_, without):
        model.sampling = lambda posterior: posterior[0]
        before = model.decoder.layers[-1].kernel.numpy()
        optimizers = [keras.optimizers.SGD(1.0)] + [keras.optimizers.SGD(0.0)] * (model is with_)
        model.compile(*optimizers, run_eagerly=True)
        model.fit(IMAGES[:4], batch_size=4, verbose=0)
        steps.append(model.decoder.layers[-1].kernel.numpy() - before)
    assert np.linalg.norm(steps[0] - steps[1]) == pytest.approx(0.01 * np.linalg.norm(steps[1]), rel=0.02)


@pytest.mark.slow
def test_it_learns_a_picture():
    keras.utils.set_random_seed(0)
    model = AutoencoderKL(1, **OPTIONS)
    bars = np.zeros((8, 16, 16, 1), "float32")
    for i in range(8):
        bars[i, :, 2 * i : 2 * i + 2] = 1.0
    data = tf.data.Dataset.from_tensors({"image": bars}).repeat()
    model.compile_for_recipe(80, 1, learning_rate=5e-3, warmup_steps=10)
    model.fit(data, steps_per_epoch=80, verbose=0)
    score = model.score([{"image": bars}])
    assert score["psnr"] > 20  # the mean picture has 9.6
    assert score["pictures"] == 8
    assert score["kl"] == pytest.approx(model.encode(bars).kl().sum(axis=(1, 2, 3)).mean(), rel=1e-5)


def test_attention_takes_any_size():
    options = {"filters": (8, 8), "patch": 2, "attention": True}
    model = AutoencoderKL(1, architecture_options=options)
    assert model.reconstruct(IMAGES).shape == IMAGES.shape
    assert model.reconstruct(IMAGES[:, :8]).shape == IMAGES[:, :8].shape


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architecture": "huge"}, "choose one of residual, tiny"),
        ({"architecture_options": {"layers": 3}}, "architecture_options has 'layers'"),
        ({"architecture_options": {"filters": (12,)}}, "multiples of 8"),
        ({"architecture_options": {"patch": 3}}, "give 1, 2 or 4"),
        ({"reconstruction": "l3"}, "choose one of l1, l2"),
        ({"kl_weight": -1.0}, "kl_weight"),
        ({"adversarial_start": 0.5}, "adversarial_start"),
        ({"decoder": "wider"}, "give a decoder that belongs to the encoder"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, said):
    if "decoder" in options:
        options = {"encoder": residual_encoder(1, filters=(8,)), "decoder": residual_decoder(1, filters=(8, 8))}
    with pytest.raises(UserError, match=said):
        AutoencoderKL(1, **options)


def test_what_it_cannot_do_is_said(model):
    with pytest.raises(UserError, match=r"\[n, h, w, 4\] is needed"):
        model.decode(np.zeros((2, 8), "float32"))
    with pytest.raises(UserError, match="divide pictures of 0 to 255 by 255"):
        model.encode(IMAGES * 255)
    with pytest.raises(UserError, match=r"\[batch, height, width, 1\]"):
        model.reconstruct(IMAGES[..., 0])
    with pytest.raises(UserError, match="is empty"):
        model.score([])
    assert not model.generates
    with pytest.raises(UserError, match=r"\[n, latent_dim\]"):  # samplers of vectors mean nothing for maps
        SAMPLERS["gaussian_mixture"]().fit(model.encode(IMAGES))
