"""Samplers of latent spaces: each density integrates to one, samples follow it, and evidence is exact."""

import functools
import itertools
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from kerasgen.errors import UserError
from kerasgen.models.vae import Posterior
from kerasgen.samplers import (
    SAMPLERS,
    ClassGaussianSampler,
    DecisionTreeSampler,
    GaussianMixtureSampler,
    PosteriorSampler,
    TwoStageSampler,
    attribute_directions,
    load_sampler,
)
from kerasgen.samplers.attributes import parse_where

DENSITIES = ["posterior", "class_gaussian", "gaussian_mixture", "decision_tree"]


def made_up(count=600, dimensions=2, seed=0):
    """Posteriors around three clusters, whose label and two attributes follow the cluster and the place."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, count)
    centers = np.array([[-2.0, 0.0], [2.0, 0.5], [0.0, 2.5]])
    mean = rng.normal(size=(count, dimensions)) * 0.6
    mean[:, :2] += centers[label]
    right = (mean[:, 0] + 1.5 * rng.normal(size=count) > 0).astype(int)
    round_ = (rng.random(count) < np.where(label == 1, 0.9, 0.2)).astype(int)
    posterior = Posterior(mean.astype("float32"), rng.normal(-2.5, 0.3, mean.shape).astype("float32"))
    return posterior, label, {"right": right, "round": round_}


@functools.cache
def fitted(name, **options):
    posterior, label, attributes = made_up(**options)
    return SAMPLERS[name]().fit(posterior, label, attributes)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("where", [None, {"label": 1}, {"right": 1, "round": 0}])
def test_the_density_integrates_to_one(name, where):
    """By importance sampling from a wide Student distribution."""
    sampler = fitted(name)
    proposal = stats.multivariate_t([0, 0.8], [[4, 0], [0, 3]], df=5, seed=1)
    z = proposal.rvs(20_000)
    weights = np.exp(sampler.log_prob(z, where) - proposal.logpdf(z))
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.03
    assert abs(weights.mean() - 1) < 4 * error


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("where", [None, {"label": 2}, {"round": 1}])
def test_samples_follow_the_density(name, where):
    """The share of samples in each cell of a grid against the integral of the density over it."""
    sampler = fitted(name)
    n, edges = 20_000, np.linspace(-5, 6, 23)
    counts = np.histogram2d(*sampler.sample(n, seed=3, where=where).z.T, bins=(edges, edges))[0]
    fine = np.linspace(-5, 6, 22 * 8 + 1)
    middle = (fine[1:] + fine[:-1]) / 2
    z = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(sampler.log_prob(z, where)).reshape(22, 8, 22, 8).sum(axis=(1, 3)) * (fine[1] - fine[0]) ** 2
    expected, often = n * mass, n * mass > 5
    chi_squared = np.sum((counts - expected)[often] ** 2 / expected[often])
    assert stats.chi2(often.sum() - 1).sf(chi_squared) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSITIES)
def test_temperature_scales_the_parts(name):
    posterior, label, attributes = made_up()
    cold = SAMPLERS[name](temperature=0.5).fit(posterior, label, attributes)
    proposal = stats.multivariate_t([0, 0.8], [[4, 0], [0, 3]], df=5, seed=1)
    z = proposal.rvs(20_000)
    assert np.mean(np.exp(cold.log_prob(z) - proposal.logpdf(z))) == pytest.approx(1, abs=0.1)
    warm = SAMPLERS[name]().fit(posterior, label, attributes)
    assert cold.log_prob(cold.sample(500, seed=0).z).mean() > warm.log_prob(warm.sample(500, seed=0).z).mean()


def test_partial_evidence_is_brute_force_marginalization():
    """p(z, part of a) is the sum of p(z, a) over the rest of a."""
    sampler = fitted("decision_tree", dimensions=3)
    z = sampler.sample(40, seed=0).z
    values = {"label": (0, 1, 2), "right": (0, 1), "round": (0, 1)}
    # Each combination occurs, so that none falls back.
    joint = {
        combination: sampler.log_prob(z, where) + sampler.evidence_log_prob(where)
        for combination in itertools.product(*values.values())
        if (where := dict(zip(values, combination, strict=True)))
    }
    for known in ({}, {"right": 1}, {"label": 2}, {"label": 1, "round": 0}, {"right": 0, "round": 1}):
        agreeing = [
            density
            for combination, density in joint.items()
            if all(dict(zip(values, combination, strict=True))[name] == value for name, value in known.items())
        ]
        marginal = logsumexp(agreeing, axis=0)
        np.testing.assert_allclose(sampler.log_prob(z, known) + sampler.evidence_log_prob(known), marginal, atol=1e-9)
    assert sampler.evidence_log_prob({}) == pytest.approx(0, abs=1e-12)


def test_the_tree_is_its_definition():
    """p(z) by SciPy from the published parts: leaves, their pictures, λ and c."""
    posterior, label, attributes = made_up(count=200)
    sampler = DecisionTreeSampler().fit(posterior, label, attributes)
    sampler._share = 0.4  # so that both kinds of part count, whatever the held-out pictures chose
    z = sampler.sample(10, seed=4).z
    gaussian = [
        np.log(count / 200) + stats.multivariate_normal(mean, covariance).logpdf(z)
        for count, mean, covariance in zip(
            sampler._leaf_count, sampler._leaf_mean, sampler._leaf_covariance, strict=True
        )
    ]
    variance = np.exp(posterior.log_var.astype("float64")) * sampler._scale
    kernel = [stats.norm(m, v**0.5).logpdf(z).sum(axis=1) for m, v in zip(posterior.mean, variance, strict=True)]
    share = sampler._share
    expected = np.logaddexp(
        np.log(share) + logsumexp(gaussian, axis=0), np.log(1 - share) + logsumexp(kernel, axis=0) - np.log(200)
    )
    np.testing.assert_allclose(sampler.log_prob(z), expected, rtol=1e-6)


def test_a_leaf_has_the_moments_of_its_posterior_samples():
    posterior, *_ = made_up()
    sampler = DecisionTreeSampler(max_leaves=1, shrinkage=1e-9).fit(posterior)
    drawn = np.concatenate([posterior.sample(seed=i) for i in range(300)])
    np.testing.assert_allclose(sampler._leaf_covariance[0], np.cov(drawn.T), rtol=0.02, atol=0.02)


def test_rules_lead_to_their_leaves():
    posterior, label, attributes = made_up(900)
    sampler = DecisionTreeSampler().fit(posterior, label, attributes)
    columns = {"label": label, **attributes, **{f"z{i}": posterior.mean[:, i] for i in range(2)}}
    signs = {"=": np.equal, "≠": np.not_equal, "≤": lambda a, b: a <= b + 0.01, ">": lambda a, b: a > b - 0.01}
    rules = sampler.rules()
    assert len(rules) > 3
    assert any("label = " in rule for rule in rules)
    for leaf, rule in enumerate(rules):
        text, share = rule.rsplit(" (", 1)
        meets = np.ones(900, bool)
        for condition in text.split(" and "):
            name, sign, value = condition.split(" ")
            meets &= signs[sign](columns[name], float(value))
        # The thresholds are rounded for reading.
        assert meets[sampler._leaf_of == leaf].all()
        assert float(share.rstrip("%)")) / 100 == pytest.approx((sampler._leaf_of == leaf).mean(), abs=1e-3)


def test_the_tree_finds_clusters_without_labels():
    posterior, *_ = made_up()
    held_out, *_ = made_up(seed=1)
    z = held_out.sample(seed=0)
    tree, one = DecisionTreeSampler().fit(posterior), ClassGaussianSampler().fit(posterior)
    assert tree.log_prob(z).mean() > one.log_prob(z).mean() + 0.1
    assert len(tree.rules()) > 1


def test_evidence_without_support_falls_back_and_says_so():
    posterior, label, _ = made_up()
    sampler = DecisionTreeSampler().fit(posterior, label, {"right": (label == 1).astype(int)})
    with pytest.warns(UserWarning, match="No picture has label = 0 & right = 1 together: sampling '.+'"):
        samples = sampler.sample(200, seed=0, where={"label": 0, "right": 1})
    assert np.isfinite(samples.log_prob).all()
    assert len(set(samples.origin)) < len(sampler.rules())
    with pytest.raises(UserError, match="together"):
        ClassGaussianSampler().fit(posterior, label, {"right": (label == 1) * 1}).sample(
            3, where={"label": 0, "right": 1}
        )


def test_class_gaussian_is_the_shrunk_gaussian_of_each_class():
    posterior, label, _ = made_up()
    sampler = ClassGaussianSampler(shrinkage=1e-6).fit(posterior, label)
    members = label == 1
    covariance = np.cov(posterior.mean[members].T, bias=True) + np.diag(np.exp(posterior.log_var[members]).mean(0))
    expected = stats.multivariate_normal(posterior.mean[members].mean(0), covariance).logpdf(posterior.mean[:20])
    np.testing.assert_allclose(sampler.log_prob(posterior.mean[:20], {"label": 1}), expected, rtol=1e-3)


def test_gaussian_mixture_is_scikit_learns():
    from sklearn.mixture import GaussianMixture

    posterior, *_ = made_up()
    sampler = GaussianMixtureSampler(components=3).fit(posterior.mean)
    theirs = GaussianMixture(3, random_state=0, reg_covar=1e-3 * posterior.mean.var(axis=0).mean())
    theirs.fit(posterior.mean.astype("float64"))
    z = posterior.mean[:50]
    np.testing.assert_allclose(sampler.log_prob(z).mean(), theirs.score_samples(z).mean(), atol=1e-3)
    assert len(np.unique(GaussianMixtureSampler().fit(posterior).sample(300, seed=0).component)) >= 3


def test_posterior_samples_lie_near_their_picture():
    posterior, *_ = made_up()
    one = Posterior(posterior.mean[:1], posterior.log_var[:1])
    z = PosteriorSampler(temperature=0.5).fit(one).sample(4000, seed=0).z
    np.testing.assert_allclose(z.mean(axis=0), one.mean[0], atol=0.02)
    np.testing.assert_allclose(z.std(axis=0), 0.5 * np.exp(one.log_var[0] / 2), rtol=0.05)


def test_attribute_directions_tell_attributes_apart():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 4000)
    b = np.where(rng.random(4000) < 0.9, a, 1 - a)  # nearly always together
    z = np.stack([2.0 * a, -1.0 * b], axis=1) + 0.1 * rng.normal(size=(4000, 2))
    found = attribute_directions(z, {"a": a, "b": b})
    np.testing.assert_allclose(found["a"], [2, 0], atol=0.05)
    np.testing.assert_allclose(found["b"], [0, -1], atol=0.05)


@pytest.mark.slow
def test_two_stage_learns_what_the_prior_does_not_know(tmp_path):
    posterior, *_ = made_up(400)
    sampler = TwoStageSampler(hidden_units=32, epochs=60).fit(posterior)
    held_out = made_up(400, seed=1)[0].sample(seed=0)
    prior = SAMPLERS["prior"](2)
    assert sampler.log_prob(held_out).mean() > prior.log_prob(held_out).mean() + 0.2
    # The bound is below the density, so that it integrates to at most one.
    proposal = stats.multivariate_t([0, 0.8], [[4, 0], [0, 3]], df=5, seed=1)
    z = proposal.rvs(2000)
    assert 0.6 < np.mean(np.exp(sampler.log_prob(z) - proposal.logpdf(z))) < 1.1
    sampler.save(tmp_path / "two.npz")
    loaded = load_sampler(tmp_path / "two.npz")
    np.testing.assert_allclose(loaded.sample(20, seed=1).z, sampler.sample(20, seed=1).z, rtol=1e-5)
    np.testing.assert_allclose(loaded.log_prob(z[:9]), sampler.log_prob(z[:9]), rtol=1e-5)


@pytest.mark.parametrize("name", DENSITIES)
def test_save_and_load(name, tmp_path):
    sampler = fitted(name)
    sampler.save(tmp_path / "sampler.npz")
    loaded = load_sampler(tmp_path / "sampler.npz")
    for where in (None, {"label": 1, "right": 0}):
        a, b = (s.sample(30, seed=2, where=where) for s in (sampler, loaded))
        np.testing.assert_array_equal(a.z, b.z)
        np.testing.assert_allclose(a.log_prob, b.log_prob, rtol=1e-9)
        assert a.origin == b.origin
    assert not np.array_equal(sampler.sample(3, seed=1).z, sampler.sample(3, seed=2).z)


def test_plot_shows_the_mean_picture_of_each_leaf(small_vae, digits, tmp_path):
    from PIL import Image

    vae = small_vae(num_classes=None)
    sampler = DecisionTreeSampler(max_leaves=5).fit(vae.encode(digits["image"]), digits["label"])
    seen = []
    sampler.plot(tmp_path / "tree.png", lambda z: seen.append(z) or vae.decode(z))
    np.testing.assert_allclose(seen[0], sampler._leaf_mean, rtol=1e-6)
    with Image.open(tmp_path / "tree.png") as picture:
        assert min(picture.size) > 100


def test_parse_where():
    assert parse_where("smiling=1 & male=0") == {"smiling": 1, "male": 0}
    for text in ("smiling", "smiling=yes", "=1", "", "a=1 & a=0"):
        with pytest.raises(UserError):
            parse_where(text)


def test_classes_are_evidence_by_their_names():
    classes = ("cats", "dogs", "7")
    assert [parse_where(f"label={text}", classes)["label"] for text in ("dogs", "0", "7", "12")] == [1, 0, 2, 12]
    assert parse_where("label = cats & indoor=1", classes) == {"label": 0, "indoor": 1}
    with pytest.raises(UserError, match="the classes are cats, dogs, 7"):
        parse_where("label=cat", classes)
    with pytest.raises(UserError, match="can't be read at 'indoor=cats'"):
        parse_where("indoor=cats", classes)


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize(
    ("where", "message"), [({"hat": 1}, "no attribute 'hat'.*label, right, round"), ({"label": 7}, "choose one of 0")]
)
def test_unknown_evidence_gets_a_sentence(name, where, message):
    with pytest.raises(UserError, match=message):
        fitted(name, count=60).sample(2, where=where)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, y: DecisionTreeSampler().sample(3), "not fitted"),
        (lambda p, y: ClassGaussianSampler().log_prob(np.zeros((1, 2))), "not fitted"),
        (lambda p, y: DecisionTreeSampler().fit(np.full((9, 2), np.nan)), "9 of 9 latents hold NaN"),
        (lambda p, y: DecisionTreeSampler(max_leaves=64).fit(p.mean[:40]), "40 latents.*64 leaves"),
        (lambda p, y: DecisionTreeSampler().fit(p, y[:5]), "'label' has the shape"),
        (lambda p, y: DecisionTreeSampler().fit(p, y + 0.5), "integer"),
        (lambda p, y: DecisionTreeSampler(min_leaf=0), "min_leaf is 0"),
        (lambda p, y: DecisionTreeSampler(shrinkage=0), "shrinkage"),
        (lambda p, y: DecisionTreeSampler(max_leaves=0), "max_leaves is 0"),
        (lambda p, y: ClassGaussianSampler(shrinkage=-30), "shrinkage is -30"),
        (lambda p, y: GaussianMixtureSampler(components=-1), "components is -1"),
        (lambda p, y: ClassGaussianSampler().fit(p, y.astype(str)), "an integer for each"),
        (lambda p, y: ClassGaussianSampler().fit(p, np.where(y > 0, y, np.nan)), "an integer for each"),
        (lambda p, y: ClassGaussianSampler().fit(p).sample(2, seed=-1), "seed is -1"),
        (lambda p, y: DecisionTreeSampler(temperature=-1), "above 0"),
        (lambda p, y: PosteriorSampler().fit(p.mean), "vae.encode"),
        (lambda p, y: GaussianMixtureSampler(components=9).fit(p.mean[:4]), "4 latents.*9"),
        (lambda p, y: DecisionTreeSampler().fit(p).sample(0), "n is 0"),
        (lambda p, y: SAMPLERS["prior"](2).sample(3, where={"label": 1}), "knows no labels"),
        (lambda p, y: attribute_directions(p, {"a": np.zeros(len(y))}), "both among them"),
    ],
)
def test_mistakes_get_a_sentence(call, message):
    posterior, label, _ = made_up(120)
    with pytest.raises(UserError, match=message):
        call(posterior, label)


@pytest.mark.parametrize("sampler", [DecisionTreeSampler, ClassGaussianSampler])
def test_one_class_only_is_said(sampler):
    posterior, label, _ = made_up(120)
    with pytest.warns(UserWarning, match="All 120 pictures have label = 0"):
        fitted_sampler = sampler().fit(posterior, np.zeros_like(label))
    assert len(fitted_sampler.sample(5, where={"label": 0}).z) == 5


def test_two_latents_are_enough_for_a_mixture():
    assert GaussianMixtureSampler().fit(np.array([[0.0, 1.0], [2.0, 3.0]])).sample(3, seed=0).z.shape == (3, 2)


@pytest.mark.parametrize("name", ["class_gaussian", "decision_tree"])
def test_drawing_takes_no_matrix_for_each_latent(name):
    """Of 20,000 latents of 32 numbers the drawing itself takes megabytes; a covariance for each takes 164."""
    random = np.random.default_rng(0)
    sampler = SAMPLERS[name]().fit(random.normal(size=(200, 32)), labels=np.arange(200) % 4)
    tracemalloc.start()
    z = sampler.sample(20_000, seed=0).z
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert z.shape == (20_000, 32)
    assert peak < 60e6
