"""The U-Net of flows: what it takes and gives, and what it refuses."""

import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.networks import velocity_unet

RANDOM = np.random.default_rng(0)


def inputs(count: int, height: int, width: int) -> dict[str, np.ndarray]:
    image = RANDOM.normal(size=(count, height, width, 3)).astype("float32")
    label = np.eye(4, dtype="float32")[RANDOM.integers(0, 4, count)]
    return {"image": image, "time": RANDOM.uniform(size=(count, 1)).astype("float32"), "label": label}


@pytest.mark.parametrize("patch", [1, 2])
def test_time_label_and_every_pixel_count(patch):
    network = velocity_unet((8, 16, 3), (8, 16), 16, label_size=4, patch=patch)
    given = inputs(2, 8, 16)
    assert np.all(network(given) == 0)  # it begins as the function 0
    network.set_weights([RANDOM.normal(0, 0.3, w.shape) for w in network.get_weights()])
    before = np.asarray(network(given))
    assert before.shape == (2, 8, 16, 3)
    for name, changed in (("time", 1 - given["time"]), ("label", given["label"][:, ::-1])):
        assert np.abs(np.asarray(network({**given, name: changed})) - before).max() > 1e-3
    # Attention lets a corner's pixel reach the corner across; an example reaches no other.
    image = given["image"].copy()
    image[0, 0, 0] += 1
    moved = np.abs(np.asarray(network({**given, "image": image})) - before)
    assert moved[0, -1, -1].max() > 1e-6
    np.testing.assert_array_equal(moved[1], 0)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((6, 8, 1), {"filters": (8, 8, 8)}, "divisible by 4"),
        ((8, 8, 1), {"filters": (8, 12)}, "multiples of 8"),
        ((8, 8, 1), {"filters": (8, 8), "patch": 3}, "patch is 3"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(shape, options, said):
    with pytest.raises(UserError, match=said):
        velocity_unet(shape, **options)
