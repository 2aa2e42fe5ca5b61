"""Metrics against SciPy, prdc, torchmetrics and scikit-image."""

import keras
import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import multivariate_normal

from kerasgen import metrics
from kerasgen.errors import UserError
from kerasgen.models import VAE


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    return rng.normal(size=(300, 12)) @ mixing, (1.2 * rng.normal(size=(250, 12)) + 0.3) @ mixing


def test_frechet_distance_is_that_of_the_matrix_square_root(features):
    a, b = features
    s_a, s_b = np.cov(a.T), np.cov(b.T)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s_a + s_b - 2 * sqrtm(s_a @ s_b).real)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_fewer_features_than_dimensions():
    """Rank-deficient covariances, where the square root of the product has a symmetric form that is stable."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(20, 50)), rng.normal(size=(30, 50)) + 0.1
    s_a, s_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(s_a + 1e-12 * np.eye(50)).real
    trace = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ s_b @ root), 0)).sum()
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s_a + s_b) - 2 * trace
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_kernel_distance_is_that_of_torchmetrics(features):
    from torchmetrics.image.kid import KernelInceptionDistance

    class Flat(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1).double()

    a, b = (np.clip(40 * x[:250, :12] + 128, 0, 255).astype(np.uint8).reshape(250, 3, 2, 2) for x in features)
    theirs = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=250)
    theirs.update(torch.from_numpy(a), real=True)
    theirs.update(torch.from_numpy(b), real=False)
    ours = metrics.kernel_distance(a.reshape(250, -1), b.reshape(250, -1))
    assert ours.mean == pytest.approx(float(theirs.compute()[0]), rel=1e-3)
    assert ours.std == 0


def test_kernel_distance_is_unbiased():
    """Two draws of one distribution have the mean 0, which the biased estimate has not."""
    rng = np.random.default_rng(0)
    found = [metrics.kernel_distance(rng.normal(size=(40, 4)), rng.normal(size=(40, 4))).mean for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    a, b = rng.normal(size=(400, 4)), rng.normal(size=(400, 4)) + 1
    subsets, whole = metrics.kernel_distance(a, b, 200, 100), metrics.kernel_distance(a, b)
    assert subsets.std > 0
    assert abs(subsets.mean - whole.mean) < 4 * subsets.std / np.sqrt(200)


def test_neighbors_are_those_of_prdc(features):
    from prdc import compute_prdc

    real, generated = features[0][:250], features[1]
    theirs = compute_prdc(real, generated, nearest_k=5)
    ours = metrics.neighbors(real, generated, k_precision=5, k_density=5)
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-3), name
    assert metrics.neighbors(real, generated).precision == pytest.approx(
        compute_prdc(real, generated, nearest_k=3)["precision"]
    )


def test_nearest_distances(digits):
    images = digits["image"]
    found = metrics.nearest_distances(images[:9], images[5:])
    for i in range(9):
        brute = min(np.sqrt(np.mean((images[i].astype(float) - other) ** 2)) for other in images[5:])
        assert found[i] == pytest.approx(brute, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_fidelity_is_that_of_scikit_image(channels):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")[:80, :60, :channels].astype(np.float64) / 255
    noisy = np.clip(photo + 0.1 * np.random.default_rng(0).standard_normal(photo.shape), 0, 1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = structural_similarity(photo, noisy, channel_axis=2, **options)
    assert metrics.ssim(noisy[None], photo[None])[0] == pytest.approx(expected, abs=1e-3)
    expected = peak_signal_noise_ratio(photo, noisy, data_range=1.0)
    assert metrics.psnr(noisy[None], photo[None])[0] == pytest.approx(expected, abs=1e-6)


class Unbounded(VAE):
    """A VAE of numbers that have no black and no white."""

    image_range = (-np.inf, np.inf)


def linear_vae(weight, sigma, encoder_noise):
    """p(x|z) = N(W z, sigma²), and an encoder that is off by `encoder_noise`; x has 4 pixels, z 2 dimensions."""
    image, z = keras.Input((2, 2, 1), name="image"), keras.Input((2,), name="z")
    flat = keras.layers.Flatten()(image)
    outputs = {name: keras.layers.Dense(2, name=name) for name in ("z_mean", "z_log_var")}
    encoder = keras.Model({"image": image}, {name: layer(flat) for name, layer in outputs.items()})
    linear = keras.layers.Dense(4, use_bias=False)
    decoder = keras.Model({"z": z}, keras.layers.Reshape((2, 2, 1))(linear(z)))
    linear.set_weights([weight])
    precision = np.eye(2) + weight @ weight.T / sigma**2
    posterior = np.linalg.inv(precision) @ weight / sigma**2
    outputs["z_mean"].set_weights([posterior.T + encoder_noise, np.zeros(2)])
    variance = np.diagonal(np.linalg.inv(precision))
    outputs["z_log_var"].set_weights([np.zeros((4, 2)), np.log(variance)])
    return Unbounded((2, 2, 1), 2, encoder=encoder, decoder=decoder, likelihood="gaussian", sigma=sigma)


def test_iwae_bound_is_the_likelihood_of_a_linear_gaussian_vae():
    rng = np.random.default_rng(0)
    # Orthogonal rows, so that the true posterior is diagonal and the encoder can be exact.
    weight = np.array([[1.0, 1, 0, 0], [0, 0, 0.5, -0.5]])
    x = (rng.normal(size=(40, 2)) @ weight + 0.5 * rng.normal(size=(40, 4))).astype("float32")
    exact = multivariate_normal(np.zeros(4), weight.T @ weight + 0.25 * np.eye(4)).logpdf(x)
    images = x.reshape(40, 2, 2, 1)
    right = linear_vae(weight, 0.5, 0.0).log_weights(images, samples=3)
    np.testing.assert_allclose(right, exact[:, None].repeat(3, 1), atol=1e-4)
    wrong = linear_vae(weight, 0.5, 0.08).log_weights(images, samples=400)
    np.testing.assert_allclose(metrics.iwae_bound(wrong).mean(), exact.mean(), atol=0.03)
    assert wrong.mean() < exact.mean() - 0.05


@pytest.mark.slow
def test_iwae_bound_is_above_the_elbo_and_tightens(small_vae, digits):
    vae = small_vae()
    vae.compile(optimizer=keras.optimizers.Adam(5e-3))
    vae.fit(digits["image"], digits["label"], batch_size=64, epochs=3, verbose=0)
    bounds = []
    for i in range(0, 512, 64):
        weights = vae.log_weights(digits["image"][i : i + 64], digits["label"][i : i + 64], samples=64, seed=i)
        for k in (1, 4, 16, 64):
            # The mean over disjoint groups of K estimates the bound's expectation from the same samples.
            bound = np.mean([metrics.iwae_bound(group) for group in np.split(weights, 64 // k, axis=1)])
            bounds.append(bound)
        assert bounds[-4] == pytest.approx(weights.mean())  # K = 1 is the ELBO
    assert (np.diff(np.reshape(bounds, (8, 4)), axis=1) > 0).all()


def test_log_weights_estimate_the_reported_elbo(small_vae, digits):
    vae = small_vae()
    vae.compile(optimizer="adam")
    elbo = vae.evaluate(digits["image"], digits["label"], return_dict=True, verbose=0)["elbo"]
    weights = vae.log_weights(digits["image"], digits["label"], samples=20)
    error = weights.std() / np.sqrt(512)
    assert weights.mean() == pytest.approx(elbo, abs=5 * error)


def test_bits_per_dim():
    images = np.random.default_rng(0).integers(0, 2, (3, 4, 4, 1))
    assert metrics.bits_per_dim(-16 * np.log(2), images) == pytest.approx(1.0)
    with pytest.raises(UserError, match="gray levels"):
        metrics.bits_per_dim(-10.0, images / 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.frechet_distance(np.zeros((3, 2)), np.zeros((3, 4))), "shapes"),
        (lambda: metrics.frechet_distance(np.full((3, 2), np.nan), np.zeros((3, 2))), "NaN"),
        (lambda: metrics.kernel_distance(np.zeros((1, 2)), np.zeros((3, 2))), "at least 2"),
        (lambda: metrics.neighbors(np.zeros((4, 2)), np.zeros((9, 2))), "at least 6"),
        (lambda: metrics.ssim(np.zeros((1, 8, 8, 1)), np.zeros((1, 8, 8, 1))), "11 pixels"),
        (lambda: metrics.psnr(np.zeros((1, 8, 8, 1)), np.zeros((1, 8, 9, 1))), "same"),
    ],
)
def test_mistakes_get_a_sentence(call, message):
    with pytest.raises(UserError, match=message):
        call()
