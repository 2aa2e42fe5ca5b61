import keras
import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.training.schedules import LinearDecay, Stage, staged


def test_constant_then_linear_to_zero():
    schedule = LinearDecay(0.2, 10, 5)
    rates = [float(schedule(step)) for step in (0, 10, 11, 14, 15, 99)]
    np.testing.assert_allclose(rates, [0.2, 0.2, 0.16, 0.04, 0, 0], atol=1e-7)


def test_it_is_saved_with_the_optimizer():
    adam = keras.optimizers.Adam(LinearDecay(0.2, 10, 5))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(adam))
    assert copy.get_config()["learning_rate"] == adam.get_config()["learning_rate"]


def test_no_steps_to_decay_in():
    with pytest.raises(UserError, match="decay_steps=0"):
        LinearDecay(0.2, 10, 0)


@pytest.mark.parametrize("schedule", ["restart", "extend"])
def test_stages_begin_anew_or_go_on(schedule):
    """Two epochs of two steps, then two more: constant for half of a training, then to 0."""

    def make(steps: int) -> LinearDecay:
        return LinearDecay(0.2, steps // 2, steps - steps // 2)

    # The second stage of "extend" is a training of 8 steps from its step 4 on, where it begins to fall.
    whole = staged(make, 2, [Stage(2), Stage(4, schedule)])
    first = [float(make(4)(step)) for step in range(4)]
    second = [float(make(4)(step)) if schedule == "restart" else float(make(8)(step + 4)) for step in range(5)]
    rates = [float(whole(step)) for step in range(9)]
    np.testing.assert_allclose(rates, [*first, *second], atol=1e-7)
    adam = keras.optimizers.Adam(whole)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(adam))
    assert copy.get_config()["learning_rate"] == adam.get_config()["learning_rate"]
    schedule_again = keras.optimizers.schedules.deserialize(copy.get_config()["learning_rate"])
    np.testing.assert_allclose([float(schedule_again(step)) for step in range(9)], rates, atol=1e-7)
