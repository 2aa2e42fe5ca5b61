"""Learning-rate schedules beyond Keras' own."""

import keras
from keras import ops

from kerasgen.errors import UserError


def warmed_up_cosine(learning_rate: float, warmup_steps: int, steps: int) -> keras.optimizers.schedules.CosineDecay:
    """From 0 to `learning_rate` in `warmup_steps`, half of a short training at most; then half a cosine to 0.

    Args:
        learning_rate: the largest.
        warmup_steps: optimizer steps of the rise.
        steps: of the whole training; fewer than 2 are taken as 2.
    """
    steps = max(2, steps)
    warmup = min(warmup_steps, steps // 2)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=learning_rate, warmup_steps=warmup
    )


@keras.saving.register_keras_serializable(package="kerasgen")
class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A constant learning rate, then a straight line to 0: CycleGAN's schedule (Zhu et al. 2017, section 4).

    The paper's is 100 epochs of each: `LinearDecay(2e-4, 100 * steps_per_epoch, 100 * steps_per_epoch)`.

    Args:
        initial_learning_rate: the constant.
        constant_steps: optimizer steps before the decay begins.
        decay_steps: steps from there to 0, at least 1; it stays 0 afterwards.

    Raises:
        UserError: a number of steps is too small.
    """

    def __init__(self, initial_learning_rate: float, constant_steps: int, decay_steps: int):
        super().__init__()
        if constant_steps < 0 or decay_steps < 1:
            raise UserError(
                f"LinearDecay got constant_steps={constant_steps} and decay_steps={decay_steps}: "
                "give at least 0 and 1."
            )
        self.initial_learning_rate = initial_learning_rate
        self.constant_steps, self.decay_steps = constant_steps, decay_steps

    def __call__(self, step):
        done = (ops.cast(step, "float32") - self.constant_steps) / self.decay_steps
        return self.initial_learning_rate * (1.0 - ops.clip(done, 0.0, 1.0))

    def get_config(self) -> dict:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "constant_steps": self.constant_steps,
            "decay_steps": self.decay_steps,
        }
