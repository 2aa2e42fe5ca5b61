"""Every kind of network × format × variant, at batch 1 and 3, and at an odd size where sizes are open."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasgen.errors import UserError
from kerasgen.export import available_formats, export_model
from kerasgen.export.gate.parity import psnr
from kerasgen.export.gate.process import FreshProcess
from kerasgen.networks import conv_decoder, conv_encoder, resnet_generator, unet_generator

CELLS = [(format, variant) for format, variants in available_formats().items() for variant in variants]


def mobile_network() -> keras.Model:
    """As keras.applications builds them: depthwise convolutions, batch norms, a residual, pooling, a classifier."""
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(layers.Rescaling(0.5)(image))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.Activation("silu")(layers.BatchNormalization()(y))
    x = layers.Add()([x, layers.Conv2D(16, 1)(y)])
    x = layers.GlobalAveragePooling2D()(x)
    network = keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(layers.Dropout(0.2)(x)))
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return network


class Ripple(layers.Layer):
    """A layer that no exporter has a special word for."""

    def call(self, inputs):
        return inputs + 0.1 * keras.ops.sin(3.0 * inputs)


class Unknown(keras.Model):
    """Subclassed: its graph can't be taken apart."""

    def __init__(self):
        super().__init__()
        self.first, self.ripple, self.last = layers.Conv2D(16, 3, padding="same"), Ripple(), layers.Conv2D(3, 3)

    def call(self, inputs):
        return keras.ops.tanh(self.last(self.ripple(self.first(inputs))))


def unknown() -> keras.Model:
    model = Unknown()
    model(np.zeros((1, 32, 32, 3), "float32"))
    return model


NETWORKS = {
    "decoder": lambda: conv_decoder(8, (16, 16, 3), (16, 16), 32, label_size=3),
    "encoder": lambda: conv_encoder((32, 32, 3), 8, (16, 16), 32),
    "resnet": lambda: resnet_generator(filters=16, blocks=2),
    "unet": lambda: unet_generator(filters=16, downsamplings=3, norm="instance"),
    "mobile": mobile_network,
    "unknown": unknown,
}


LEAST_DB = {"float32": 80, "float16": 58, "dynamic_int8": 30, "weight_int8": 30, "static_int8": 26}
OPEN = ("resnet", "unet", "mobile")


@pytest.fixture(scope="module")
def networks():
    """The networks; rounding depends on the weights, so those that translate have learned the identity."""
    keras.utils.set_random_seed(0)
    made = {name: make() for name, make in NETWORKS.items()}
    for name in ("resnet", "unet", "unknown"):
        pictures = batch(name, 256, seed=2)
        target = pictures[:, 1:-1, 1:-1] if name == "unknown" else pictures
        made[name].compile(keras.optimizers.Adam(2e-3), loss="mae")
        made[name].fit(pictures, target, batch_size=16, epochs=8, verbose=0)
    return made


def batch(name, n, size=32, seed=0):
    """Real inputs: crops of photographs for what takes pictures."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(seed)
    if name == "decoder":
        labels = np.eye(3, dtype="float32")[random.integers(0, 3, n)]
        return {"z": random.standard_normal((n, 8)).astype("float32"), "label": labels}
    photo = load_sample_images().images[seed % 2].astype("float32") / 127.5 - 1.0
    crops = []
    while len(crops) < n:
        y, x = random.integers(0, [427 - size, 640 - size])
        crop = photo[y : y + size, x : x + size]
        # An instance norm of a flat piece of sky divides by next to nothing, and amplifies any rounding with it.
        if crop.std((0, 1)).min() >= 0.15:
            crops.append(crop)
    pictures = np.stack(crops)
    return {"image": pictures * 0.5 + 0.5} if name == "encoder" else pictures


@pytest.mark.slow
@pytest.mark.parametrize(("format", "variant"), CELLS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_cell(networks, name, format, variant, tmp_path):
    network = networks[name]
    options = {"calibration": batch(name, 64, seed=1)} if variant == "static_int8" else {}
    artifact = export_model(network, tmp_path / "net", format, variant, inputs=batch(name, 3), **options)
    others = [batch(name, 1), batch(name, 3, seed=3)]
    if name in OPEN and format != "tflite":
        others.append(batch(name, 2, size=24 if name == "unet" else 20))
    with FreshProcess(format, artifact.path) as process:
        signature = artifact.signatures["serving_default"]
        for given in others:
            named = given if isinstance(given, dict) else {next(iter(signature["inputs"])): given}
            found = process.run("serving_default", named)
            expected = network(given)
            expected = expected if isinstance(expected, dict) else dict.fromkeys(signature["outputs"], expected)
            assert set(found) == set(expected)
            for key, value in found.items():
                assert psnr(value, np.asarray(expected[key])) >= LEAST_DB[variant], (key, value.shape)


@pytest.mark.parametrize(
    ("network", "format", "variant", "message"),
    [
        ("mobile", "saved_model", "float16", "no variant 'float16'"),
        ("mobile", "onnx", "static_int8", "measures the activations on real inputs and received none"),
        ("norms", "tflite", "dynamic_int8", "has none|neither"),
        ("norms", "onnx", "static_int8", "this network has none"),
    ],
)
def test_a_cell_that_cannot_be_says_why(network, format, variant, message, tmp_path):
    image = keras.Input((8, 8, 3))
    made = mobile_network() if network == "mobile" else keras.Model(image, layers.ReLU()(image))
    calibration = np.zeros((4, 8, 8, 3)) if network == "norms" and variant == "static_int8" else None
    with pytest.raises(UserError, match=message):
        export_model(made, tmp_path / "net", format, variant, calibration=calibration)
    assert not list(tmp_path.iterdir())
