"""The PixelCNN looks at all codes before a place, and at no other: by its Jacobian."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.networks import pixelcnn
from kerasgen.networks.pixelcnn import by_place

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


@pytest.mark.parametrize("label_size", [0, 2])
def test_place_by_place_it_says_what_it_says_of_the_whole_map(label_size):
    keras.utils.set_random_seed(1)
    network, random = pixelcnn(3, filters=4, blocks=3, kernel=5, label_size=label_size), np.random.default_rng(2)
    network.set_weights([w + random.normal(0, 0.3, w.shape) for w in network.get_weights()])
    codes = random.integers(0, 3, (2, 4, SIDE)).astype("int32")
    told = {"label": np.float32([[1, 0], [0, 1]])} if label_size else {}
    steps = by_place(network, SIDE)
    rows, above = np.zeros((2, *steps.row.input["rows"].shape[1:]), "float32"), np.full((2, SIDE), -1, "int32")
    said = np.zeros((2, 4, SIDE, 3))
    for row in range(4):
        known = steps.row.predict_on_batch({"above": above, "rows": rows, **told})
        places, left = np.zeros((2, *steps.place.input["places"].shape[1:]), "float32"), np.full((2, 1), -1, "int32")
        for column in range(SIDE):
            context = known["context"][:, :, column : column + 1]
            found = steps.place.predict_on_batch({"left": left, "context": context, "places": places, **told})
            said[:, row, column], places = found["logits"], found["places_next"]
            left = codes[:, row, column : column + 1]
        above, rows = codes[:, row], known["rows_next"]
    np.testing.assert_allclose(said, network.predict_on_batch({"codes": codes, **told})["logits"], atol=1e-5)


@pytest.mark.parametrize("options", [{"codes": 1}, {"kernel": 4}, {"kernel": 1}, {"blocks": 0}, {"filters": 0}])
def test_arguments_that_do_not_fit_are_refused(options):
    with pytest.raises(UserError, match="an odd kernel of at least 3"):
        pixelcnn(**{"codes": 4, **options})
