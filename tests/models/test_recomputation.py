"""`CycleGAN(recompute=True)`: the same training in less memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.export import export_model
from kerasgen.models import CycleGAN
from kerasgen.models.recomputation import recomputed

RESNET = {"generator_options": {"filters": 4, "blocks": 1}}
UNET = {"generator_type": "unet", "generator_options": {"filters": 4, "downsamplings": 2, "norm": "instance"}}


def photographs():
    """Crops of two photographs as the domains: [2, 24, 24, 3] in [-1, 1] each."""
    from sklearn.datasets import load_sample_images

    photos = [photo.astype("float32") / 127.5 - 1 for photo in load_sample_images().images]
    return {
        name: np.stack([photo[i : i + 24, :24] for i in (0, 90)]) for name, photo in zip("ab", photos, strict=True)
    }


def pair(**options):
    """A CycleGAN and its copy that recomputes, with the same weights."""
    plain, recomputing = (
        CycleGAN(24, discriminator_options={"filters": 4}, recompute=recompute, **options)
        for recompute in (False, True)
    )
    recomputing.set_weights(plain.get_weights())
    for model in (plain, recomputing):
        model.compile(*(keras.optimizers.SGD(1.0) for _ in range(2)))
    return plain, recomputing


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        pytest.param(RESNET, "float32", id="resnet"),
        pytest.param(UNET, "float32", id="unet", marks=pytest.mark.slow),
        pytest.param(RESNET, "mixed_bfloat16", id="resnet-bfloat16", marks=pytest.mark.slow),
        pytest.param(UNET, "mixed_bfloat16", id="unet-bfloat16", marks=pytest.mark.slow),
    ],
)
def test_a_step_has_the_same_gradients(options, policy):
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        plain, recomputing = pair(**options)
    finally:
        keras.config.set_dtype_policy(former)
    before = plain.get_weights()
    logs = [model.train_on_batch(photographs(), return_dict=True) for model in (plain, recomputing)]
    assert logs[1] == pytest.approx(logs[0], rel=1e-6)
    for variable, old, one, other in zip(
        plain.weights, before, plain.get_weights(), recomputing.get_weights(), strict=True
    ):
        # With a learning rate of 1, what has changed is the gradient.
        np.testing.assert_allclose(other, one, atol=1e-6 * np.abs(one - old).max() + 1e-7, err_msg=variable.path)
    assert any((new != old).any() for new, old in zip(plain.get_weights(), before, strict=True))


@pytest.mark.parametrize("eagerly", [False, True], ids=["graph", "eager"])
def test_a_function_is_run_again_only_for_its_gradient(eagerly):
    runs, weight = tf.Variable(0), tf.Variable(3.0)

    def cube(x):
        # Counted where the graph runs it, not where it is traced; a constant, so that it isn't a weight.
        with tf.control_dependencies([runs.assign_add(1, read_value=False)] if not eagerly else []):
            if eagerly:
                runs.assign_add(1)
            return weight * x**3

    def gradients(x):
        once, twice = recomputed(cube, cube)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = twice(once(x))
        return y, tape.gradient(y, [x, weight])

    y, (of_x, of_weight) = (gradients if eagerly else tf.function(gradients))(tf.constant(1.5))
    # y = w (w x³)³ = w⁴ x⁹
    np.testing.assert_allclose(y, 3**4 * 1.5**9, rtol=1e-6)
    np.testing.assert_allclose(of_x, 9 * 3**4 * 1.5**8, rtol=1e-6)
    np.testing.assert_allclose(of_weight, 4 * 3**3 * 1.5**9, rtol=1e-6)
    assert runs.numpy() == 4


@pytest.mark.slow
def test_it_is_saved_and_no_artifact_has_it(tmp_path):
    plain, recomputing = pair(**RESNET)
    recomputing.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.recompute
    loaded.train_on_batch(photographs())
    paths = [
        export_model(model.generator_a2b, tmp_path / name, "onnx", inputs=photographs()["a"]).path
        for name, model in (("plain", plain), ("recomputing", recomputing))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("norm", ["batch", "dropout"])
def test_what_would_change_twice_is_refused(norm):
    options = {"generator_options": {"filters": 4, "blocks": 1, "norm": "batch"}}
    if norm == "dropout":
        image = keras.Input((None, None, 3))
        output = keras.layers.Conv2D(3, 1)(keras.layers.Dropout(0.5)(image))
        options = {**RESNET, "generator_b2a": keras.Model(image, output)}
    with pytest.raises(UserError, match=r"twice a step.*moving_mean|twice a step.*seed"):
        CycleGAN(24, recompute=True, **options)


TRANSLATIONS = """
import sys
import numpy as np
import tensorflow as tf
from kerasgen.models import CycleGAN
options = {"generator_options": {"filters": 16, "blocks": 8, "downsamplings": 1, "stem_kernel": 3}}
model = CycleGAN(256, recompute=sys.argv[1] == "True", **options)
a2b, b2a = model._translations(training=True)

@tf.function
def gradients(images):
    with tf.GradientTape() as tape:
        for translate in (a2b, b2a, a2b, b2a):
            images = translate(images)
    return tape.gradient(images, model.generator_a2b.trainable_variables + model.generator_b2a.trainable_variables)

images = np.random.default_rng(0).uniform(-1, 1, (2, 256, 256, 3)).astype("float32")
"""


@pytest.mark.slow
def test_translations_take_half_the_memory(memory_taken):
    # One after the other: what a whole step has in memory also depends on the order that TensorFlow takes its six in.
    plain, recomputing = (memory_taken(TRANSLATIONS, "gradients(images)", flag) for flag in ("False", "True"))
    assert recomputing < 0.6 * plain
