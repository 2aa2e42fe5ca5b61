"""The prior sampler against SciPy's density, and its file."""

import numpy as np
import pytest
from scipy import stats

from kerasgen.errors import UserError
from kerasgen.samplers import PriorSampler, load_sampler


def test_log_prob_is_the_gaussian_density():
    sampler = PriorSampler(latent_dim=3, temperature=0.7)
    samples = sampler.sample(50, seed=0)
    expected = stats.multivariate_normal(np.zeros(3), 0.49 * np.eye(3)).logpdf(samples.z)
    np.testing.assert_allclose(samples.log_prob, expected, rtol=1e-6)


def test_samples_follow_the_temperature():
    z = PriorSampler(latent_dim=2, temperature=0.5).sample(5000, seed=1).z
    assert stats.kstest(z.ravel(), stats.norm(0, 0.5).cdf).pvalue > 0.01


def test_the_seed_decides():
    sampler = PriorSampler(latent_dim=4)
    np.testing.assert_array_equal(sampler.sample(3, seed=5).z, sampler.sample(3, seed=5).z)
    assert not np.array_equal(sampler.sample(3, seed=5).z, sampler.sample(3, seed=6).z)


def test_save_and_load(tmp_path):
    sampler = PriorSampler(temperature=0.8).fit(np.zeros((10, 6)))
    sampler.save(tmp_path / "prior.npz")
    loaded = load_sampler(tmp_path / "prior.npz")
    np.testing.assert_array_equal(loaded.sample(4, seed=2).z, sampler.sample(4, seed=2).z)
    assert list(tmp_path.iterdir()) == [tmp_path / "prior.npz"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PriorSampler().sample(2), "not fitted"),
        (lambda: PriorSampler(temperature=0), "above 0"),
        (lambda: PriorSampler(latent_dim=2).log_prob(np.zeros((1, 3))), "shape"),
        (lambda: PriorSampler().fit(np.array([[np.nan, 0.0]])), "NaN"),
        (lambda: PriorSampler().fit(np.zeros((0, 2))), "n ≥ 1"),
        (lambda: load_sampler("missing.npz"), "There is no file"),
    ],
)
def test_mistakes_get_a_sentence(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "prior.npz"
    PriorSampler(latent_dim=2).save(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="can't be read as a sampler"):
        load_sampler(path)
