"""VQ-VAE: its losses and perplexity by NumPy, whose gradient goes where, codes there and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.metrics.latent import Perplexity
from kerasgen.models import VQVAE
from kerasgen.models.translation import whole_memory
from kerasgen.networks import residual_decoder, residual_encoder

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(6, 8, 12, 1)).astype("float32")


def small(**options) -> VQVAE:
    keras.utils.set_random_seed(0)
    model = VQVAE(1, codes=8, code_dim=3, architecture_options={"filters": (8,), "patch": 2}, **options)
    model.quantizer.codebook.assign(np.random.default_rng(1).normal(0, 0.7, (8, 3)))
    return model


@pytest.fixture(scope="module")
def model() -> VQVAE:
    return small()


def perplexity(codes: np.ndarray) -> float:
    shares = np.bincount(codes.ravel(), minlength=8) / codes.size
    return float(np.exp(-sum(share * np.log(share) for share in shares if share)))


@pytest.mark.parametrize("learner", ["ema", "gradient"])
@pytest.mark.parametrize("reconstruction", ["l1", "l2"])
def test_losses_are_means_over_an_examples_numbers_and_perplexity_is_the_epochs(learner, reconstruction):
    model = small(learner=learner, reconstruction=reconstruction, commitment=0.5)
    model.compile(run_eagerly=True)
    data = tf.data.Dataset.from_tensor_slices({"image": IMAGES}).batch(4)
    found = model.evaluate(data, return_dict=True, verbose=0)
    z, codebook = np.asarray(model.encoder(IMAGES)), model.quantizer.codebook.numpy()
    codes = np.linalg.norm(z[..., None, :] - codebook, axis=-1).argmin(axis=-1)
    made = np.asarray(model.decoder(codebook[codes]))
    error = np.abs(IMAGES - made) if reconstruction == "l1" else (IMAGES - made) ** 2
    commitment = ((z - codebook[codes]) ** 2).mean()
    assert found["reconstruction_loss"] == pytest.approx(error.mean(), rel=1e-4)
    assert found["commitment_loss"] == pytest.approx(commitment, rel=1e-4)
    gradient = learner == "gradient"
    assert ("codebook_loss" in found) == gradient
    assert found["loss"] == pytest.approx(error.mean() + (0.5 + gradient) * commitment, rel=1e-4)
    assert found["perplexity"] == pytest.approx(perplexity(codes), rel=1e-4)
    np.testing.assert_array_equal(model.encode(IMAGES), codes)


def test_perplexity_counts_codes():
    metric = Perplexity(4)
    metric.update_state([2.0, 0.0, 0.0, 0.0])
    assert float(metric.result()) == pytest.approx(1)
    metric.update_state([0.0, 2.0, 2.0, 2.0])
    assert float(metric.result()) == pytest.approx(4)
    metric.reset_state()
    assert float(metric.result()) == pytest.approx(1)


def test_the_commitment_moves_the_encoder_alone_and_the_codebook_loss_the_codes():
    model = small(learner="gradient", commitment=0.25)
    images = tf.constant(IMAGES)
    with tf.GradientTape(persistent=True) as tape:
        z = model.encoder(images)
        found = model._losses_of(images, z, training=True)
    codebook, kernel = model.quantizer.codebook, model.encoder.trainable_variables[0]
    assert tape.gradient(found["commitment_loss"], codebook) is None
    assert tape.gradient(found["codebook_loss"], kernel) is None
    assert tape.gradient(found["reconstruction_loss"], codebook) is None  # it goes straight through
    assert np.abs(tape.gradient(found["reconstruction_loss"], kernel)).max() > 0
    codes, numpy_z = model.encode(IMAGES), z.numpy()
    expected = np.zeros((8, 3))
    for latent, code in zip(numpy_z.reshape(-1, 3), codes.ravel(), strict=True):
        expected[code] += 2 * (codebook.numpy()[code] - latent) / numpy_z[0].size
    found = tf.convert_to_tensor(tape.gradient(found["codebook_loss"], codebook))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_step_moves_the_averages_and_restarts_dead_codes_at_latents_of_the_batch():
    model = small(decay=0.8, restart_below=0.1)
    start = model.quantizer.codebook.numpy()
    start[2] = 50.0
    model.quantizer.codebook.assign(start)
    z, codes = np.asarray(model.encoder(IMAGES)), model.encode(IMAGES)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    model.fit(tf.data.Dataset.from_tensors({"image": IMAGES}), verbose=0)
    after, latents = model.quantizer.codebook.numpy(), z.reshape(-1, 3)
    uses = np.bincount(codes.ravel(), minlength=8)
    for code in range(8):
        if uses[code] < 0.1 * uses.mean():
            assert np.abs(latents - after[code]).max(axis=1).min() < 1e-5
        else:
            np.testing.assert_allclose(after[code], z[codes == code].mean(axis=0), atol=1e-5)
    assert np.abs(after[2]).max() < 10


def test_codes_there_and_back(model):
    codes = model.encode(IMAGES)
    assert codes.shape == (6, 4, 6)
    assert codes.dtype == "int32"
    np.testing.assert_allclose(model.decode(codes), model.reconstruct(IMAGES), atol=1e-6)
    networks = model.networks_to_export()
    np.testing.assert_allclose(networks["decoder"].network(codes)["image"], model.decode(codes), atol=1e-6)
    distances = np.asarray(networks["encoder"].network(IMAGES)["distances"])
    np.testing.assert_array_equal(distances.argmin(axis=-1), codes)
    odd = IMAGES[:, :7, :9]
    assert model.reconstruct(odd).shape == odd.shape
    with pytest.raises(UserError, match="7×9"):
        model.encode(odd)


@pytest.mark.slow
def test_a_large_image_goes_strip_by_strip_and_gives_the_same_codes(model, capsys):
    image = np.random.default_rng(3).uniform(size=(1, 160, 64, *IMAGES.shape[3:])).astype("float32")
    memory = int(whole_memory(model.encoder, 160, 64) * 0.9)
    codes = model.encode(image)
    assert "strips" not in capsys.readouterr().out
    found = model.encode(image, memory=memory)
    # A latent as near to one code as to another may fall to either.
    assert (found != codes).sum() <= 1
    assert len(np.unique(codes)) > 1
    np.testing.assert_allclose(model.decode(codes, memory=memory), model.decode(codes), atol=1e-5)
    assert capsys.readouterr().out.count("strips") == 2


def test_it_learns_pictures_from_a_codebook_far_from_its_latents():
    """Sixteen pictures of two gray squares; without restarts all latents would share a code or two."""
    keras.utils.set_random_seed(0)
    levels = np.linspace(0, 1, 4, dtype="float32")
    pairs = np.stack(np.meshgrid(levels, levels, indexing="ij"), axis=-1).reshape(16, 1, 2, 1)
    images = pairs.repeat(8, axis=1).repeat(8, axis=2)
    model = VQVAE(1, codes=16, code_dim=4, architecture_options={"filters": (8,), "patch": 4}, decay=0.9)
    model.compile_for_recipe(150, 1, learning_rate=5e-3, warmup_steps=10)
    batches = tf.data.Dataset.from_tensors({"image": images}).repeat()
    history = model.fit(batches, steps_per_epoch=150, verbose=0).history
    score = model.score([{"image": images}])
    assert score["psnr"] > 14  # gray alone has 9.7
    assert 1 <= score["codes_in_a_picture"] <= 16
    assert history["perplexity"][-1] > 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learner": "adam"}, "choose one of ema, gradient"),
        ({"codes": 1}, "codes is 1"),
        ({"commitment": -1.0}, "commitment"),
        ({"decay": 1.0}, "decay 1.0"),
        ({"architecture_options": {"variational": True}}, "architecture_options has 'variational'"),
        ({"decoder": "wider"}, "give a decoder that belongs to the encoder"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, said):
    if "decoder" in options:
        encoder = residual_encoder(1, filters=(8,), variational=False)
        options = {"encoder": encoder, "decoder": residual_decoder(1, filters=(8, 8))}
    with pytest.raises(UserError, match=said):
        VQVAE(1, **options)


def test_codes_that_there_are_not_are_refused(model):
    with pytest.raises(UserError, match="reach from 0 to 8, but the codebook has 0 to 7"):
        model.decode(np.int32([[[0, 8]]]))
    with pytest.raises(UserError, match="give whole numbers"):
        model.decode(np.zeros((1, 4, 4, 3), "float32"))
