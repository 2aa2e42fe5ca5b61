"""What becomes of gradients that are summed over all replicas: accumulated, or given to the optimizer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.typing import Tensor


def paper_adam(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 2e-4,
) -> keras.optimizers.Adam:
    """Return Adam as CycleGAN and pix2pix take it, with PyTorch's epsilon."""
    return keras.optimizers.Adam(learning_rate, beta_1=0.5, beta_2=0.999, epsilon=1e-8)


def prepared(optimizer: keras.optimizers.Optimizer, variables: list) -> keras.optimizers.Optimizer:
    """Return an optimizer with its state built, because neither saving nor tf.distribute builds it later.

    In float16 it scales its loss, as Keras' own `compile` makes a model's optimizer do.
    """
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if keras.config.dtype_policy().name == "mixed_float16" and not scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


class Accumulator:
    """Gives an optimizer the mean of k gradients after each k-th."""

    def __init__(self, optimizer: keras.optimizers.Optimizer, steps: int):
        options = {"initializer": "zeros", "trainable": False}
        self.optimizer, self.steps = optimizer, steps
        self.count = keras.Variable(shape=(), dtype="int32", name="count", **options)
        self._sums = {
            id(v): keras.Variable(shape=v.shape, dtype=v.dtype, name="sum", **options)
            for v in trained_variables(optimizer)
        }

    @property
    def variables(self) -> list[keras.Variable]:
        """What a checkpoint must hold."""
        return [self.count, *self._sums.values()]

    def add(self, gradients: list, variables: list) -> None:
        """On each replica: keep the gradients."""
        self.count.assign_add(1)
        for gradient, variable in zip(gradients, variables, strict=True):
            self._sums[id(variable)].assign_add(gradient)

    def apply(self, gradients: list, variables: list) -> None:
        """On each replica: update the weights by the mean of these gradients and of those that were kept."""
        sums = [self._sums[id(v)] for v in variables]
        means = [(g + s) / self.steps for g, s in zip(gradients, sums, strict=True)]
        self.optimizer.apply(means, variables)
        for variable in self.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))


def apply_summed(
    strategy: tf.distribute.Strategy,
    gradients: list,
    variables: list,
    optimizer: keras.optimizers.Optimizer,
    accumulator: Accumulator | None,
    when: Tensor | None,
) -> None:
    """Apply gradients that are the same on every replica.

    It runs where all replicas meet, because a replica's own tf.cond can't contain an update.
    """

    def on_replicas(function: Callable[[list, list], None]) -> Tensor:
        strategy.extended.call_for_each_replica(function, args=(gradients, variables))
        return tf.constant(0)

    def apply() -> Tensor:
        if accumulator is None:
            return on_replicas(optimizer.apply)
        last = tf.equal(accumulator.count.value, accumulator.steps - 1)
        return tf.cond(last, lambda: on_replicas(accumulator.apply), lambda: on_replicas(accumulator.add))

    with _summed_already(optimizer):
        if when is None:
            apply()
        else:
            tf.cond(strategy.experimental_local_results(when)[0], apply, lambda: tf.constant(0))


@contextmanager
def _summed_already(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keep an optimizer from summing over the replicas what is a sum already; Keras has no argument for it."""
    summing = inner(optimizer)
    summing._all_reduce_sum_gradients = list
    try:
        yield
    finally:
        del summing._all_reduce_sum_gradients


def inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return what a loss scale is wrapped around, or the optimizer itself."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def trained_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return what a built optimizer updates; Keras has no public word for it."""
    return inner(optimizer)._trainable_variables


def check_optimizer(optimizer: keras.optimizers.Optimizer, replicas: int) -> None:
    """Raise `UserError` if an optimizer has an option that Keras can't bring under a strategy."""
    given = inner(optimizer)
    if given.gradient_accumulation_steps:
        raise UserError(
            f"The optimizer has gradient_accumulation_steps={given.gradient_accumulation_steps}, but the models here "
            "accumulate themselves, on one device as on several: give it to the model's compile(…, "
            "gradient_accumulation_steps=…) instead."
        )
    if given.use_ema and given.ema_overwrite_frequency and replicas > 1:
        raise UserError(
            f"The optimizer has ema_overwrite_frequency={given.ema_overwrite_frequency}, which Keras can't do on "
            "several devices: leave it out, and the averages replace the weights when the training ends."
        )
