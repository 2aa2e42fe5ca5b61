"""Against rare classes: weights of each example, as one "sample_weight", or an order that draws classes alike.

The weights have mean 1 over the examples that they were made for, so that the loss keeps its size.

Of a conditional VAE's digits, trained on 178, 69 or 14 pictures a class, a classifier of real digits recognizes in
the classes with 14 (three seeds, `python benchmarks/balance_digits.py`): 99.2, 99.0, 98.7% without balance; 99.7,
99.7, 99.3% with "batch"; 99.8, 99.8, 100.0% with "sampling". Real test digits: 99.3%.
"""

from collections.abc import Callable

import numpy as np

from kerasgen.data.order import shuffled_index
from kerasgen.data.sources.source import Source
from kerasgen.errors import UserError
from kerasgen.typing import Tensor

SCHEMES = ("batch", "inverse", "effective", "attributes", "sampling")
_BETA = 0.99


def inverse_frequency(counts: Tensor) -> np.ndarray:
    """Weight N / (K·n_c) of each class from its number of examples [K]; 0 for a class without any: [K]."""
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    weights = counts.sum() / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0.0).astype(np.float32)


def effective_number(counts: Tensor, beta: float = _BETA) -> np.ndarray:
    """Weight ∝ (1 - β) / (1 - βⁿ) of each class, with mean 1 over the examples: [K].

    Cui et al. 2019, 1901.05555. β = 0 weighs all alike; towards 1 it becomes `inverse_frequency`.
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    weights = np.where(present, (1 - beta) / (1 - beta ** np.maximum(counts, 1)), 0.0)
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)


def batch_mask(labels: Tensor) -> Tensor:
    """Return the class-balanced mask w_i = B / (K_present · n_{y_i}) of a batch of integer labels [B]: float32 [B].

    Each class that is in the batch has the same share of its loss, and the weights' mean is 1.
    """
    import tensorflow as tf

    same = tf.cast(labels[:, None] == labels[None], tf.float32)
    own = tf.reduce_sum(same, axis=1)
    present = tf.reduce_sum(1.0 / own)
    return tf.cast(tf.shape(labels)[0], tf.float32) / (present * own)


def attribute_weights(labels: Tensor) -> np.ndarray:
    """Weights [k, 2] of an attribute's absence and presence from 0/1 labels [n, k]: n / (2·count of that value).

    An example's weight is the mean of those of its k values. An attribute that never changes weighs 1.
    """
    labels = np.asarray(labels, np.float64)
    counts = np.stack([(1 - labels).sum(0), labels.sum(0)], axis=1)
    changes = (counts > 0).all(axis=1, keepdims=True)
    return np.where(changes, len(labels) / (2 * np.maximum(counts, 1)), 1.0).astype(np.float32)


def weighting(scheme: str, labels: np.ndarray) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Return a function that adds "sample_weight" [batch] to a batch with "label".

    Args:
        scheme: "batch", "inverse", "effective" or "attributes".
        labels: of all examples, [n] or, for "attributes", [n, k] of 0 and 1.

    Raises:
        UserError: there is no such scheme, or it doesn't fit the labels.
    """
    import tensorflow as tf

    _check(scheme, labels)
    if scheme == "batch":
        return lambda batch: {**batch, "sample_weight": batch_mask(batch["label"])}
    if scheme == "attributes":
        table = tf.constant(attribute_weights(labels))

        def of_attributes(batch: dict[str, Tensor]) -> dict[str, Tensor]:
            weights = table[:, 0] + (table[:, 1] - table[:, 0]) * batch["label"]
            return {**batch, "sample_weight": tf.reduce_mean(weights, axis=-1)}

        return of_attributes
    counts = np.bincount(labels)
    table = tf.constant(inverse_frequency(counts) if scheme == "inverse" else effective_number(counts))
    return lambda batch: {**batch, "sample_weight": tf.gather(table, batch["label"])}


def balanced_order(labels: np.ndarray, seed: int) -> Callable[[Tensor], Tensor]:
    """Return a function from a place in the training to an example, which draws each class equally often.

    Of K consecutive places, counted from a multiple of K, each class has one; a class goes through all of its
    examples in a new order, and then begins anew. It is a pure function of the seed and the place.

    Args:
        labels: integer classes [n].
        seed: of the order.

    Raises:
        UserError: the examples have several labels each.
    """
    import tensorflow as tf

    _check("sampling", labels)
    members = tf.constant(np.argsort(labels, kind="stable"), tf.int64)
    sizes = np.bincount(labels)
    sizes = sizes[sizes > 0]
    starts_table, sizes_table = tf.constant(np.cumsum(sizes) - sizes, tf.int64), tf.constant(sizes, tf.int64)

    def order(position: Tensor) -> Tensor:
        which = shuffled_index(position, len(sizes), seed, stream=2)
        place = shuffled_index(position // len(sizes), sizes_table[which], seed, stream=3 + which)
        return members[starts_table[which] + place]

    return order


def labels_of(source: Source, name: str) -> np.ndarray:
    """Return the labels of all examples.

    Raises:
        UserError: the source has none.
    """
    if source.labels is None:
        raise UserError(
            f"The data {name!r} has no labels to balance: leave balance out, or use a source with classes."
        )
    return source.labels()


def _check(scheme: str, labels: np.ndarray) -> None:
    if scheme not in SCHEMES:
        raise UserError(f"There is no balance {scheme!r}: choose one of {', '.join(SCHEMES)}.")
    if (labels.ndim == 2) != (scheme == "attributes"):
        several = "several labels an example" if labels.ndim == 2 else "one class an example"
        fits = "attributes" if labels.ndim == 2 else "batch, inverse, effective or sampling"
        raise UserError(f"The balance {scheme!r} doesn't fit data with {several}: choose {fits}.")
