import keras
import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.training.schedules import LinearDecay


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
