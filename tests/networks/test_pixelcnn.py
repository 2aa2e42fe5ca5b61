"""The PixelCNN looks at all codes before a place, and at no other: by its Jacobian."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.networks import pixelcnn

SIDE = 5


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return pixelcnn(3, filters=4, blocks=4, kernel=3, label_size=2)


def test_each_place_depends_on_all_codes_before_it_and_on_no_other(network):
    embedded = tf.constant(np.random.default_rng(0).normal(size=(1, SIDE, SIDE, 4)).astype("float32"))
    label = tf.constant([[1.0, 0.0]])
    behind = keras.Model([network.get_layer("embedded").output, network.input["label"]], network.output["logits"])
    with tf.GradientTape() as tape:
        tape.watch(embedded)
        logits = behind([embedded, label])
    jacobian = tape.jacobian(logits, embedded)[0, :, :, :, 0]
    depends = np.abs(jacobian).max(axis=(2, 5)).reshape(SIDE**2, SIDE**2) > 0
    # Four blocks of reach 1 see all that is above and beside in a map of five rows, without a blind spot.
    np.testing.assert_array_equal(depends, np.tri(SIDE**2, k=-1, dtype=bool))


def test_rows_below_can_be_left_out(network):
    codes = np.random.default_rng(1).integers(0, 3, (2, SIDE, SIDE)).astype("int32")
    label = np.float32([[1, 0], [0, 1]])
    whole = network({"codes": codes, "label": label})["logits"]
    for rows in (1, 3):
        part = network({"codes": codes[:, :rows], "label": label})["logits"]
        np.testing.assert_allclose(part, whole[:, :rows], atol=1e-5)


def test_the_label_is_told(network):
    codes = np.zeros((2, SIDE, SIDE), "int32")
    one, two = network({"codes": codes, "label": np.float32([[1, 0], [0, 1]])})["logits"]
    assert np.abs(one - two).max() > 1e-4


@pytest.mark.parametrize("options", [{"codes": 1}, {"kernel": 4}, {"kernel": 1}, {"blocks": 0}, {"filters": 0}])
def test_arguments_that_do_not_fit_are_refused(options):
    with pytest.raises(UserError, match="an odd kernel of at least 3"):
        pixelcnn(**{"codes": 4, **options})
