"""Learning-rate schedules beyond Keras' own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kerasgen.errors import UserError
from kerasgen.keras_hooks import schedule_of
from kerasgen.typing import Config, Tensor

Continuation = Literal["restart", "extend"]


@dataclass(frozen=True)
class Stage:
    """A part of a training that was made longer.

    Attributes:
        epochs: of the whole training, at which the stage ends.
        schedule: how the learning rate goes on after the stage before: "restart" begins the schedule anew, over this
            stage's epochs; "extend" goes on as if the training had been meant to end with this stage.
    """

    epochs: int
    schedule: Continuation = "extend"


def staged(
    make: Callable[[int], LearningRateSchedule], steps_per_epoch: int, epochs: int | Sequence[Stage]
) -> LearningRateSchedule:
    """Return the schedule of a training, through all its stages.

    Args:
        make: from a number of steps to the schedule of a training that long.
        steps_per_epoch: optimizer steps.
        epochs: of a training of one stage, or the stages.
    """
    stages = (Stage(epochs),) if isinstance(epochs, int) else tuple(epochs)
    ends = [steps_per_epoch * stage.epochs for stage in stages]
    starts = [0, *ends[:-1]]
    offsets = [s if stage.schedule == "restart" else 0 for s, stage in zip(starts, stages, strict=True)]
    schedules = [make(end - offset) for end, offset in zip(ends, offsets, strict=True)]
    return schedules[0] if len(schedules) == 1 else Staged(schedules, starts, offsets)


@keras.saving.register_keras_serializable(package="kerasgen")
class Staged(LearningRateSchedule):
    """Several schedules, one after the other.

    Args:
        schedules: of each stage.
        starts: optimizer steps at which each begins, the first 0.
        offsets: the steps that are step 0 to each.
    """

    def __init__(self, schedules: Sequence[LearningRateSchedule], starts: Sequence[int], offsets: Sequence[int]):
        super().__init__()
        self.schedules, self.starts, self.offsets = list(schedules), list(starts), list(offsets)

    def __call__(self, step: Tensor) -> Tensor:
        rate = self.schedules[0](step)
        for schedule, start, offset in list(zip(self.schedules, self.starts, self.offsets, strict=True))[1:]:
            rate = ops.where(step >= start, schedule(step - offset), rate)
        return rate

    def get_config(self) -> dict[str, object]:
        schedules = [keras.saving.serialize_keras_object(schedule) for schedule in self.schedules]
        return {"schedules": schedules, "starts": self.starts, "offsets": self.offsets}

    @classmethod
    def from_config(cls, config: dict[str, Config]) -> "Staged":
        schedules = [keras.saving.deserialize_keras_object(schedule) for schedule in config["schedules"]]
        return cls(schedules, config["starts"], config["offsets"])


def ended_at(optimizer: keras.optimizers.Optimizer) -> int | None:
    """Return the step at which an optimizer's schedule stands, if it has brought the learning rate to 0 for good."""
    schedule, step = schedule_of(optimizer), int(ops.convert_to_numpy(optimizer.iterations))
    if schedule is None or not step:
        return None
    return None if any(float(schedule(step + later)) > 0 for later in (0, 1, 100)) else step


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


def half_constant(learning_rate: float, steps: int) -> LinearDecay:
    """Return the schedule of CycleGAN and pix2pix: constant for half of a training, then linearly to 0.

    Args:
        learning_rate: of the first half.
        steps: of the whole training; fewer than 2 are taken as 2.
    """
    steps = max(2, steps)
    return LinearDecay(learning_rate, steps // 2, steps - steps // 2)
