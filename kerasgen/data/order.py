"""The order of examples: a pure function of the seed and of the place in the training."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


_MOST_STEPS = 10**12


def shuffled_index(position: Tensor, count: Tensor, seed: int, stream: Tensor = 0) -> Tensor:
    """Return the example, in [0, count), at `position` (int64 tensor) of an endless shuffled order.

    The positions from k·count to (k + 1)·count hold each example once, in an order of their own for each k. No
    buffer is kept. Different `stream`s of one seed have unrelated orders.
    """
    import tensorflow as tf

    # index_shuffle takes two numbers as its seed; a large odd factor keeps the pairs (seed, stream) apart.
    key = tf.stack([tf.cast(seed + stream * 0x9E3779B97F4A7C1, tf.int64), position // count])
    return tf.random.experimental.index_shuffle(position % count, key, tf.cast(count - 1, tf.int64))


def batches(
    source: str,
    example: Callable[[Tensor], dict[str, Tensor]],
    count: int,
    batch_size: int,
    training: bool,
    start_step: int | None = None,
) -> "tf.data.Dataset":
    """Batches of `example(position)` for the int64 positions of an epoch.

    In training, epoch e has the positions from e·P on, P being `count` without what fills no whole batch. The first
    iteration is epoch 0, the next one is epoch 1, …; with `start_step`, one endless iteration begins at that batch.
    Otherwise each iteration has the positions 0 to count, and its last batch may be small.

    Raises:
        UserError: there is less than one batch, no example can be made, or `start_step` doesn't fit.
    """
    import tensorflow as tf

    from kerasgen.untuned import untuned

    batch_size = values.whole("batch_size", batch_size)
    if training and count < batch_size:
        raise UserError(
            f"{source} has {count} examples, and batches of {batch_size} were asked for: "
            f"choose a batch_size from 1 to {count}."
        )
    if start_step is not None and not training:
        raise UserError(f"start_step is {start_step}, but the data isn't shuffled: leave it out.")
    with tf.device("CPU"):  # as the dataset's own function
        example(tf.constant(0, tf.int64))  # what can't be read at all is said here, by its sentence alone
    if not training:
        positions = tf.data.Dataset.range(count)
    elif start_step is None:
        positions = _epochs(count // batch_size * batch_size)
    else:
        first = values.whole("start_step", start_step, 0, _MOST_STEPS) * batch_size
        positions = tf.data.Dataset.range(first, tf.int64.max)
    examples = positions.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return untuned(examples.batch(batch_size, drop_remainder=training).prefetch(tf.data.AUTOTUNE))


def _epochs(per_epoch: int) -> "tf.data.Dataset":
    """Return the positions of one epoch: of the next one in each iteration.

    `fit` begins a new iteration for each epoch and tells the dataset nothing, so the dataset counts by itself.
    """
    import tensorflow as tf

    epoch = tf.Variable(-1, dtype=tf.int64, trainable=False)

    def next_epoch(_: Tensor) -> tf.data.Dataset:
        first = epoch.assign_add(1) * per_epoch
        return tf.data.Dataset.range(first, first + per_epoch)

    positions = tf.data.Dataset.range(1).flat_map(next_epoch)
    return positions.apply(tf.data.experimental.assert_cardinality(per_epoch))
