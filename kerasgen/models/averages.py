"""A network whose weights are the moving averages of another one's: it makes better pictures."""

import keras
import tensorflow as tf

from kerasgen.keras_hooks import copy_weights
from kerasgen.typing import Tensor


def averaged_copy(network: keras.Model) -> keras.Model:
    """Return a network with the same weights that isn't trained."""
    copy = keras.models.clone_model(network)
    copy_weights(copy, network)
    copy.trainable = False
    return copy


def follow(copy: keras.Model, network: keras.Model, share: Tensor) -> None:
    """Move the copy's weights by a share of the way to the network's; in a step, after the network's update.

    It runs where all replicas meet: a variable of a network can't be assigned to on each.

    Args:
        copy: of `averaged_copy`.
        network: what it follows.
        share: a scalar, the same on all replicas.
    """

    def moved(strategy: tf.distribute.Strategy, share: Tensor) -> Tensor:
        share = strategy.experimental_local_results(share)[0]
        for average, weight in zip(copy.weights, network.weights, strict=True):
            strategy.extended.update(average.value, _move, args=(weight.value, share))
        return tf.constant(0)

    tf.distribute.get_replica_context().merge_call(moved, args=(share,))


def _move(average: tf.Variable, weight: tf.Variable, share: Tensor) -> None:
    average.assign_add(tf.cast(share, average.dtype) * (tf.cast(weight, average.dtype) - average))
