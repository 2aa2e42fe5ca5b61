"""Class balance against the formulas in NumPy, and what a loss makes of it."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from kerasgen.data import load
from kerasgen.data.balance import (
    attribute_weights,
    balanced_order,
    batch_mask,
    effective_number,
    inverse_frequency,
    weighting,
)
from kerasgen.errors import UserError

LABELS = np.repeat([0, 1, 2], [178, 69, 14])


def test_inverse_frequency_is_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(inverse_frequency([178, 69, 14]), expected, rtol=1e-6)
    np.testing.assert_array_equal(inverse_frequency([3, 0, 1])[1], 0)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_effective_number_is_the_papers(beta):
    counts = np.array([178, 69, 14])
    expected = np.array([(1 - beta) / (1 - beta**n) for n in (178, 69, 14)])
    found = effective_number(counts, beta)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-5)
    assert np.average(found, weights=counts) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(effective_number(counts, 1 - 1e-9), inverse_frequency(counts), rtol=1e-4)


def test_the_mask_gives_each_class_of_a_batch_the_same_share():
    labels = np.random.default_rng(0).choice(LABELS, 32)
    weights = batch_mask(tf.constant(labels)).numpy()
    classes = np.unique(labels)
    expected = [32 / (len(classes) * np.sum(labels == y)) for y in labels]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    shares = [weights[labels == c].sum() for c in classes]
    np.testing.assert_allclose(shares, 32 / len(classes), rtol=1e-5)


def test_each_attribute_balances_its_presence_and_absence():
    labels = (np.random.default_rng(0).random((500, 3)) < [0.5, 0.1, 0.0]).astype(np.float32)
    weights = attribute_weights(labels)
    for k in (0, 1):
        present = labels[:, k] == 1
        assert weights[k, 1] * present.sum() == pytest.approx(weights[k, 0] * (~present).sum(), rel=1e-5)
    np.testing.assert_array_equal(weights[2], 1.0)
    batch = weighting("attributes", labels)({"label": tf.constant(labels[:8])})
    expected = [np.mean([weights[k, int(row[k])] for k in range(3)]) for row in labels[:8]]
    np.testing.assert_allclose(batch["sample_weight"], expected, rtol=1e-5)


def test_balanced_order_draws_classes_alike_and_every_example():
    order = balanced_order(LABELS, seed=5)
    drawn = np.array([int(order(tf.constant(p, tf.int64))) for p in range(3 * 69)])
    classes = LABELS[drawn].reshape(-1, 3)
    np.testing.assert_array_equal(np.sort(classes), np.tile([0, 1, 2], (69, 1)))
    assert set(drawn[LABELS[drawn] == 1]) == set(np.flatnonzero(LABELS == 1))
    rare = drawn[LABELS[drawn] == 2]
    for start in range(0, 56, 14):
        assert len(set(rare[start : start + 14])) == 14
    assert list(rare[:14]) != list(rare[14:28])
    again = balanced_order(LABELS, seed=5)
    assert [int(again(tf.constant(p, tf.int64))) for p in (100, 7)] == [drawn[100], drawn[7]]


@pytest.mark.parametrize("scheme", ["batch", "inverse", "effective", "sampling"])
def test_loading_balanced(scheme):
    batch = next(iter(load("digits", batch_size=30, balance=scheme)))
    if scheme == "sampling":
        np.testing.assert_array_equal(np.bincount(batch["label"]), [3] * 10)
        assert "sample_weight" not in batch
    else:
        assert batch["sample_weight"].shape == (30,)
        assert np.all(batch["sample_weight"] > 0)


def test_a_vae_weighs_its_loss_by_them(small_vae, digits):
    vae = small_vae()
    vae.compile("adam")
    images, labels = digits["image"][:64], digits["label"][:64]
    weights = batch_mask(tf.constant(labels)).numpy()
    alone = [
        vae.evaluate({"image": images[labels == c], "label": labels[labels == c]}, return_dict=True, verbose=0)
        for c in range(10)
    ]
    mean_of_classes = np.mean([found["kl_loss"] for found in alone])
    data = {"image": images, "label": labels, "sample_weight": weights}
    together = vae.evaluate(tf.data.Dataset.from_tensors(data), return_dict=True, verbose=0)
    assert together["kl_loss"] == pytest.approx(mean_of_classes, rel=1e-4)


def test_wrong_use_is_said(tmp_path):
    with pytest.raises(UserError, match="no balance 'rare': choose one of batch"):
        load("digits", balance="rare")
    with pytest.raises(UserError, match="'attributes' doesn't fit data with one class"):
        load("digits", balance="attributes")
    with pytest.raises(UserError, match="no labels to balance"):
        load("photos", image_size=32, balance="batch")
    with pytest.raises(UserError, match="balance the train split only"):
        load("digits", "test", balance="batch")
    with pytest.raises(UserError, match="choose attributes"):
        weighting("inverse", np.ones((4, 2)))
