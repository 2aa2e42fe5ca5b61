"""Registration: the warp against SciPy's, the losses against NumPy's, training, files and exports."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates, uniform_filter
from sklearn.datasets import load_sample_image

from kerasgen.data import load_registration
from kerasgen.errors import UserError
from kerasgen.export import available_formats, export_model, verify
from kerasgen.models import Registration
from kerasgen.models.registration import local_ncc_loss
from kerasgen.networks.registration import CostVolume, registration_network, warp


def photo(height: int = 32, width: int = 48) -> np.ndarray:
    """A piece of china.jpg, float32 [1, height, width, 3] in [-1, 1]."""
    return load_sample_image("china.jpg")[None, 120 : 120 + height, 200 : 200 + width] / np.float32(127.5) - 1


def test_the_warp_is_scipys():
    image = photo()
    flow = np.random.default_rng(0).normal(0, 4, (1, 32, 48, 2)).astype("float32")  # some lead outside
    places = np.mgrid[0:32, 0:48] + np.moveaxis(flow[0], -1, 0)
    expected = [map_coordinates(image[0, ..., c], places, order=1, mode="nearest") for c in range(3)]
    np.testing.assert_allclose(warp(image, flow)[0], np.stack(expected, -1), atol=1e-5)


def test_the_warp_has_gradients_with_respect_to_the_flow():
    image, flow = tf.constant(photo()), tf.Variable(tf.fill([1, 32, 48, 2], 0.3))
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(tf.square(warp(image, flow) - image))
    slope = tape.gradient(value, flow).numpy().sum()
    step = 1e-2
    after, before = (np.mean((warp(image, flow + s) - image) ** 2) for s in (step, -step))
    assert slope == pytest.approx((after - before) / (2 * step), rel=2e-2)


def test_pairs_have_the_true_flow():
    batch = next(iter(load_registration("pictures", "test", image_size=64, batch_size=8)))
    assert float(np.abs(batch["flow"]).max()) > 3.0
    assert float(np.abs(batch["flow"]).max()) < 5.5  # bicubic interpolation overshoots a little
    warped = warp(batch["moving"], batch["flow"]).numpy()
    inner = slice(8, -8)
    np.testing.assert_allclose(warped[:, inner, inner], batch["fixed"][:, inner, inner], atol=1e-5)
    again = next(iter(load_registration("pictures", "test", image_size=64, batch_size=8)))
    np.testing.assert_array_equal(again["fixed"], batch["fixed"])


def test_the_largest_share_is_at_the_true_shift():
    image = photo(64, 96)
    moved = np.roll(image, (2, -4), (1, 2))  # moving at x + (2, -4) is fixed at x
    shares = CostVolume()([moved, image])[..., :25].numpy()[0, 6:-6, 6:-6].reshape(-1, 25)
    best = np.bincount(shares.argmax(1), minlength=25).argmax()
    assert divmod(best, 5) == (2 + 1, 2 - 2)


def test_ncc_is_the_formula_and_ignores_contrast():
    a, b = photo()[..., :1], photo(40, 48)[:, 8:, :, :1]

    def mean(values):
        return uniform_filter(values[0, ..., 0].astype(float), 9, mode="constant")

    weight = uniform_filter(np.ones((32, 48)), 9, mode="constant")  # TensorFlow leaves out what is outside
    ma, mb, aa, bb, ab = (mean(v) / weight for v in (a, b, a * a, b * b, a * b))
    ratio = ((ab - ma * mb) ** 2 + 1e-9) / ((aa - ma**2) * (bb - mb**2) + 1e-9)
    assert float(local_ncc_loss(a, b)[0]) == pytest.approx(1 - ratio.mean(), abs=1e-3)
    assert float(local_ncc_loss(a, 0.5 * a - 0.2)[0]) < 0.15 * float(local_ncc_loss(a, b)[0])


def test_an_untrained_model_leaves_everything_in_place():
    model, image = Registration(filters=(4, 4, 4)), photo(37, 50)[0]
    warped, flow = model.align(image, image[::-1])
    np.testing.assert_array_equal(flow, np.zeros((37, 50, 2)))
    np.testing.assert_allclose(warped, image, atol=1e-6)
    dataset = load_registration("pictures", "test", batch_size=8).take(1)
    scores = model.score(dataset)
    assert scores["epe"] == pytest.approx(scores["epe_identity"])
    truth = next(iter(dataset))["flow"].numpy()
    assert scores["epe_identity"] == pytest.approx(np.sqrt((truth**2).sum(-1)).mean(), rel=1e-4)
    assert scores["negative_jacobian"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("similarity", "smoothness"), [("mse", 0.005), ("ncc", 0.1)])
def test_training_brings_pictures_together(similarity, smoothness, tmp_path):
    keras.utils.set_random_seed(0)
    model = Registration(filters=(16, 32, 32), similarity=similarity, smoothness=smoothness)
    model.compile_for_recipe(200, 1, learning_rate=3e-3)
    dataset = load_registration("pictures", image_size=48, batch_size=8, start_step=0)
    model.fit(dataset, steps_per_epoch=200, verbose=0, shuffle=False)
    test = load_registration("pictures", "test", image_size=48, batch_size=32).take(2)
    scores = model.score(test)
    assert scores["epe_ratio"] < 0.85  # measured: 0.80 and 0.68
    assert scores["negative_jacobian"] == 0.0
    assert model.evaluate(test, return_dict=True, verbose=0)["epe"] == pytest.approx(scores["epe"], rel=1e-3)
    model.save(tmp_path / "model.keras")
    batch = next(iter(test))
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for found, expected in zip(
        loaded.align(batch["moving"], batch["fixed"]), model.align(batch["moving"], batch["fixed"]), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("format", available_formats())
def test_the_network_exports_and_passes_verify(format, tmp_path):
    network = registration_network(filters=(8, 8, 8))
    random = np.random.default_rng(0)
    head = network.get_layer("coarse_flow")
    head.set_weights([random.normal(0, 0.3, w.shape) for w in head.get_weights()])
    batch = next(iter(load_registration("pictures", "test", image_size=32, batch_size=2)))
    inputs = {name: batch[name].numpy() for name in ("moving", "fixed")}
    artifact = export_model(network, tmp_path / "registration", format=format, inputs=inputs)
    assert verify(artifact.path, network, inputs=inputs).passed


def test_wrong_use_is_said():
    with pytest.raises(UserError, match="similarity is 'mi': choose"):
        Registration(similarity="mi")
    with pytest.raises(UserError, match="two widths at least"):
        Registration(filters=(8,))
    with pytest.raises(UserError, match="both must be the same"):
        Registration(filters=(4, 4, 4)).align(photo(32, 48), photo(32, 40))
    model = Registration(filters=(4, 4, 4))
    model.compile_for_recipe(1, 1)
    with pytest.raises(UserError, match=r"kerasgen\.data\.load_registration"):
        model.fit(tf.data.Dataset.from_tensors({"a": photo()}), verbose=0)
    with pytest.raises(UserError, match="amplitude is -1"):
        load_registration("pictures", amplitude=-1)


def test_flat_places_keep_their_pattern():
    """A wide range of light beside faint clouds: their normalized values are right to four digits."""
    random, rows = np.random.default_rng(0), np.linspace(-1, 1, 32)[:, None]
    sky = np.where(rows < 0, -0.9, 0.8) + 0.002 * random.standard_normal((32, 32))
    picture = np.repeat(sky[None, ..., None], 3, axis=-1).astype("float32")
    shown = CostVolume()([picture, picture])[0, ..., -2].numpy()

    halved = picture[0, ..., 0].astype("float64").reshape(16, 2, 16, 2).mean((1, 3))
    for y, x in np.ndindex(16, 16):
        around = halved[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        right = (halved[y, x] - around.mean()) / np.sqrt(around.var() + 1e-5)
        np.testing.assert_allclose(shown[y, x], right, atol=1e-4)
