"""The prior over codes: a likelihood that sums to one, its samples by NumPy, what it learns."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm

from kerasgen.errors import UserError
from kerasgen.models import VQVAE, AutoencoderKL, CodePrior

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(6, 4, 6, 1)).astype("float32")
LABELS = np.arange(6, dtype="int32") % 2


def small(codes: int = 5, filters: int = 4, spread: float = 0.3, **options) -> CodePrior:
    keras.utils.set_random_seed(0)
    first_stage = VQVAE(1, codes=codes, code_dim=3, architecture_options={"filters": (8,), "patch": 2})
    first_stage.quantizer.codebook.assign(np.random.default_rng(1).normal(0, 0.7, (codes, 3)))
    prior = CodePrior(first_stage, (4, 6, 1), filters=filters, blocks=2, kernel=3, num_classes=2, **options)
    random = np.random.default_rng(2)  # so that its distributions aren't all alike
    prior.network.set_weights([w + random.normal(0, spread, w.shape) for w in prior.network.get_weights()])
    return prior


@pytest.fixture(scope="module")
def prior() -> CodePrior:
    return small()


def test_its_likelihood_sums_to_one():
    prior = small(codes=2)
    every = np.int32(list(itertools.product([0, 1], repeat=6))).reshape(64, 2, 3)
    for label in (0, 1):
        shares = np.exp(prior.log_prob(every, np.full(64, label)))
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert shares.max() > 2 / 64  # and not because all are alike


def test_the_loss_is_the_negative_log_likelihood_of_the_images_codes(prior):
    prior.compile(run_eagerly=True)
    data = tf.data.Dataset.from_tensor_slices({"image": IMAGES, "label": LABELS}).batch(4)
    codes = prior.first_stage.model.encode(IMAGES)
    expected = -prior.log_prob(codes, LABELS).mean() / 6
    assert prior.evaluate(data, verbose=0) == pytest.approx(expected, rel=1e-4)
    logits = np.asarray(prior.network({"codes": codes, "label": np.eye(2, dtype="float32")[LABELS]})["logits"])
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    by_hand = np.log(np.take_along_axis(shares, codes[..., None], axis=-1)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(prior.log_prob(codes, LABELS), by_hand, rtol=1e-4)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (1.0, 2), (2.0, 1)])
def test_a_picture_is_the_quantiles_of_its_noise(temperature, top_k):
    prior = small(temperature=temperature, top_k=top_k)
    z = RANDOM.normal(size=(3, 6)).astype("float32")
    label = np.eye(2, dtype="float32")[[0, 1, 1]]
    expected = np.zeros((3, 2, 3), "int32")
    for i, (row, column) in enumerate(itertools.product(range(2), range(3))):
        logits = np.asarray(prior.network({"codes": expected, "label": label})["logits"])[:, row, column]
        for n in range(3):
            kept = np.argsort(-logits[n])[: top_k or 5]
            shares = np.zeros(5)
            shares[kept] = np.exp(logits[n, kept] / temperature)
            shares /= shares.sum()
            expected[n, row, column] = np.searchsorted(np.cumsum(shares), norm.cdf(z[n, i]))
    found = prior.codes_from({"z": tf.constant(z), "label": tf.constant(label)})
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(prior.decode(z, [0, 1, 1]), prior.first_stage.model.decode(expected), atol=1e-6)


def test_its_first_stage_is_a_copy_that_rests():
    given = VQVAE(1, codes=5, code_dim=3, architecture_options={"filters": (8,), "patch": 2})
    prior = CodePrior(given, (4, 6, 1), filters=4, blocks=1, kernel=3)
    np.testing.assert_array_equal(prior.first_stage.model.encode(IMAGES), given.encode(IMAGES))
    assert given.trainable_variables
    fresh = small()
    before = fresh.first_stage.model.get_weights()
    fresh.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    fresh.fit(tf.data.Dataset.from_tensors({"image": IMAGES, "label": LABELS}), verbose=0)
    for one, two in zip(before, fresh.first_stage.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(fresh.trainable_variables) == len(fresh.network.trainable_variables)


@pytest.mark.slow
def test_it_learns_what_belongs_to_a_label():
    """Two pictures, one for each label: what is made of any noise is the label's."""
    prior = small(filters=16, spread=0.0)
    images = RANDOM.uniform(size=(2, 4, 6, 1)).astype("float32")
    codes = prior.first_stage.model.encode(images)
    assert (codes[0] != codes[1]).any()
    prior.compile_for_recipe(100, 1, learning_rate=1e-2)
    data = tf.data.Dataset.from_tensors({"image": images, "label": np.int32([0, 1])}).repeat()
    prior.fit(data, steps_per_epoch=100, verbose=0)
    assert np.exp(prior.log_prob(codes, [0, 1])).min() > 0.5  # of 15,625 maps
    made = prior.generate(40, labels=np.arange(40) % 2, seed=1)
    right = prior.first_stage.model.reconstruct(images)[np.arange(40) % 2]
    assert np.mean(np.abs(made - right).max(axis=(1, 2, 3)) < 1e-5) >= 0.3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"top_k": 6}, "top_k"),
        ({"image_shape": (5, 6, 1)}, "sides divisible by 2"),
        ({"image_shape": (4, 6, 3)}, "takes 1 channels"),
        ({"first_stage": "kl"}, "is an AutoencoderKL: give a trained VQVAE"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(prior, options, said):
    if "first_stage" in options:
        options = {"first_stage": AutoencoderKL(1, architecture_options={"filters": (8,), "patch": 1})}
    given = {"first_stage": prior.first_stage.model, "image_shape": (4, 6, 1), "filters": 4, "blocks": 1, **options}
    with pytest.raises(UserError, match=said):
        CodePrior(**given)


def test_a_file_that_says_it_has_no_network_of_its_own_still_loads(prior):
    again = CodePrior.from_config({**prior.get_config(), "network": None})
    assert again.get_config() == prior.get_config()


def test_what_it_cannot_do_is_said(prior):
    with pytest.raises(UserError, match="encodes no pictures"):
        prior.encode(IMAGES, LABELS)
    with pytest.raises(UserError, match="the codebook has 0 to 4"):
        prior.log_prob(np.full((1, 2, 3), 5), [0])
