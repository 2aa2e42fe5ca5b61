"""One replica's share of a batch: how means over the examples of all replicas are made of it.

tf.distribute splits a batch over the replicas, not always evenly, and the last one of a data set may leave a replica
without an example. TensorFlow's kernels don't all take nothing: such a replica computes on a black stand-in, which
counts nowhere.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.models.checks import said_shape
from kerasgen.typing import Tensor


class Share(NamedTuple):
    """What a replica knows of the batch besides its own examples.

    Attributes:
        weight: of each of its examples, [batch]; None if all weigh 1.
        examples: how many are its own, without a stand-in; None on one device, where there is none.
        total: the examples of all replicas; None on one device.
    """

    weight: Tensor | None = None
    examples: Tensor | None = None
    total: Tensor | None = None

    def own(self, values: Tensor) -> Tensor:
        """Return values [batch, …] without those of a stand-in."""
        return values if self.examples is None else values[: self.examples]

    def objective(self, losses: Tensor) -> Tensor:
        """Return this replica's part of the mean over the whole batch of losses [batch], each times its weight."""
        losses = self.own(losses if self.weight is None else losses * self.weight)
        return tf.reduce_mean(losses) if self.total is None else tf.reduce_sum(losses) / self.total

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean over the whole batch of values [batch, …], without a gradient."""
        values = tf.stop_gradient(self.own(values))
        if self.weight is None:
            weights = tf.ones(tf.shape(values)[:1], values.dtype)
        else:
            weights = tf.cast(self.own(self.weight), values.dtype)
        sums = summed_over_replicas([tf.tensordot(weights, values, 1), tf.reduce_sum(weights)])
        return tf.math.divide_no_nan(*sums)

    def first_place(self, seen: Tensor) -> Tensor:
        """Return the place of this replica's first example in an evaluation, where it has seen `seen` of its own."""
        if self.examples is None:
            return tf.cast(seen, tf.int32)
        context = tf.distribute.get_replica_context()
        # As floats, because GPUs keep 32-bit integers in the host's memory, where nothing is summed over replicas.
        counts = context.all_gather(tf.cast(self.examples, tf.float32)[None], axis=0)
        before = tf.cumsum(counts, exclusive=True)[context.replica_id_in_sync_group]
        return tf.cast(summed_over_replicas([tf.cast(seen, tf.float32)])[0] + before, tf.int32)


def replica_count() -> int:
    """Return among how many replicas the present step is shared."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def summed_over_replicas(values: list[Tensor]) -> list[Tensor]:
    """Return the sums of what each replica has; on one device the values."""
    if replica_count() == 1:
        return values
    # Several workers reduce to where a tensor lies: one that came in from outside the step lies nowhere yet.
    values = [tf.identity(value) for value in values]
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def unpacked(data: Tensor) -> tuple[Tensor, Tensor | None, Share]:
    """Return x (a dict, or a tensor), y and this replica's share of what `fit` or `evaluate` gave to a step.

    Raises:
        UserError: a sample weight isn't one number an example.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(x, dict):
        weight = x.get("sample_weight", weight)
    if weight is not None:
        weight = tf.cast(weight, tf.float32)
        if weight.shape.rank != 1:
            raise UserError(f"sample_weight has {said_shape(weight)}: give one number for each example.")
    if replica_count() == 1:
        return x, y, Share(weight)
    count = tf.shape(keras.tree.flatten(x)[0])[0]
    total = summed_over_replicas([tf.cast(count, tf.float32)])[0]
    x, y, weight = keras.tree.map_structure(_with_stand_in, (x, y, weight))
    return x, y, Share(weight, count, total)


def _with_stand_in(values: Tensor | None) -> Tensor | None:
    """Return values [batch, …], or one of zeros if there is none."""
    if values is None or values.shape[0]:
        return values
    missing = tf.maximum(1 - tf.shape(values)[0], 0)
    zeros = tf.zeros(tf.concat([[missing], tf.shape(values)[1:]], axis=0), values.dtype)
    return tf.ensure_shape(tf.concat([values, zeros], axis=0), values.shape)
