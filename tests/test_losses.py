"""Losses against closed forms in NumPy and SciPy."""

import numpy as np
from scipy import stats

from kerasgen import losses


def test_bernoulli_nll_is_the_sum_of_each_pixels_cross_entropy():
    rng = np.random.default_rng(0)
    images, logits = rng.random((3, 4, 4, 2)), rng.normal(0, 3, (3, 4, 4, 2))
    p = 1 / (1 + np.exp(-logits))
    expected = -(images * np.log(p) + (1 - images) * np.log(1 - p)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(losses.bernoulli_nll(images, logits), expected, rtol=1e-5)


def test_bernoulli_nll_is_finite_for_extreme_logits():
    value = np.asarray(losses.bernoulli_nll(np.ones((1, 2, 2, 1)), np.full((1, 2, 2, 1), -1000.0)))
    np.testing.assert_allclose(value, [4000.0])


def test_gaussian_nll_is_minus_the_log_density():
    rng = np.random.default_rng(1)
    images, mean = rng.random((3, 4, 4, 1)), rng.random((3, 4, 4, 1))
    expected = -stats.norm.logpdf(images, mean, 0.3).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(losses.gaussian_nll(images, mean, np.log(0.3)), expected, rtol=1e-5)


def test_gaussian_kl_equals_the_integral():
    mean, log_var = np.array([[0.7, -1.2]]), np.array([[0.4, -0.9]])
    x = np.linspace(-15, 15, 200_001)
    for i, value in enumerate(np.asarray(losses.gaussian_kl(mean, log_var))[0]):
        q = stats.norm(mean[0, i], np.exp(0.5 * log_var[0, i]))
        integral = np.trapezoid(q.pdf(x) * (q.logpdf(x) - stats.norm.logpdf(x)), x)
        np.testing.assert_allclose(value, integral, rtol=1e-5)


def test_losses_are_float32_under_half_precision_inputs():
    half = np.full((2, 4, 4, 1), 0.5, np.float16)
    assert losses.bernoulli_nll(half, half).dtype == "float32"
    assert losses.gaussian_kl(half[:, 0, :, 0], half[:, 0, :, 0]).dtype == "float32"


def test_gaussian_kl_survives_log_variances_out_of_range():
    assert np.isfinite(np.asarray(losses.gaussian_kl(np.zeros((1, 2)), np.array([[1e4, -1e4]])))).all()


def test_gradient_error_is_numpys_of_differences_and_blind_to_a_shade():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 3, 5, 7, 3)).astype("float32")
    expected = [
        sum(np.abs(np.diff(x, axis=axis) - np.diff(y, axis=axis)).mean() for axis in (0, 1))
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(losses.gradient_error(a, b), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.gradient_error(a, a + 0.25), 0, atol=1e-6)
