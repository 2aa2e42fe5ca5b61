"""Networks for the export tests: random functional ones as people write them, each the same for the same seed."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from kerasgen.layers import InstanceNormalization, ReflectionPadding2D

Tensor = keras.KerasTensor
_ACTIVATIONS = (
    "relu",
    "gelu",
    "silu",
    "tanh",
    "elu",
    "leaky_relu",
    "hard_silu",
    "sigmoid",
    "softplus",
    "mish",
    "selu",
)
_PRECISIONS = ("float32", "float32", "float32", "mixed_bfloat16", "mixed_float16")
_MOST_PIXELS = 40 * 40
_MOST_CHANNELS = 16


class Writer:
    """Writes one network: a picture on its way through random steps.

    Args:
        seed: decides everything, the weights too.
    """

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        sides = [int(self.random.integers(6, 21)) for _ in range(2)]
        self.image = keras.Input((*sides, int(self.random.integers(1, 5))), name="image")
        self.vector = keras.Input((5,), name="style")
        self.scalar = keras.Input((), name="strength")
        self.used: list[Tensor] = [self.image]
        self.steps: list[str] = []

    def one_of(self, *choices):
        """Return one of some values."""
        return choices[int(self.random.integers(len(choices)))]

    def number(self, least: float = 0.3, most: float = 1.7) -> float:
        return float(np.round(self.random.uniform(least, most), 3))

    def channels(self, x: Tensor) -> int:
        return x.shape[-1]

    def array(self, *shape: int) -> np.ndarray:
        return self.random.uniform(-1, 1, shape).astype("float32")

    def take(self, given: Tensor) -> Tensor:
        """Return an input that the network then has."""
        if not any(given is used for used in self.used):
            self.used.append(given)
        return given


# ---- steps: each takes the writer and a picture [batch, height, width, channels], and returns another ----


def convolution(w: Writer, x: Tensor) -> Tensor:
    options = {"padding": w.one_of("same", "valid", "same"), "use_bias": w.one_of(True, False)}
    if min(x.shape[1:3]) < 5:
        options["padding"] = "same"
    options["activation"] = w.one_of(None, *_ACTIVATIONS)
    stride = w.one_of(1, 1, 2) if min(x.shape[1:3]) > 7 else 1
    dilation = w.one_of(1, 2) if stride == 1 and min(x.shape[1:3]) > 7 else 1
    kernel = w.one_of(1, 3, 3, (3, 2), 4)
    filters = int(w.random.integers(2, 9))
    kind = w.one_of("plain", "plain", "grouped", "depthwise", "separable", "transposed", "transposed_more")
    if kind == "plain":
        return layers.Conv2D(filters, kernel, strides=stride, dilation_rate=dilation, **options)(x)
    if kind == "grouped":
        groups = w.channels(x)
        return layers.Conv2D(2 * groups, kernel, strides=stride, groups=groups, **options)(x)
    if kind == "depthwise":
        return layers.DepthwiseConv2D(3, strides=stride, depth_multiplier=w.one_of(1, 2), **options)(x)
    if kind == "separable":
        return layers.SeparableConv2D(filters, 3, strides=stride, depth_multiplier=w.one_of(1, 2), **options)(x)
    more = {"output_padding": 1} if kind == "transposed_more" else {}
    stride = 2 if more or w.one_of(True, False) else 1
    return layers.Conv2DTranspose(filters, w.one_of(3, 4), strides=stride, **options, **more)(x)


def norm(w: Writer, x: Tensor) -> Tensor:
    channels = w.channels(x)
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    layer = w.one_of(
        layers.BatchNormalization(scale=w.one_of(True, False)),
        layers.BatchNormalization(axis=w.one_of(1, 2, 3)),
        layers.GroupNormalization(w.one_of(*divisors, -1)),
        layers.GroupNormalization(w.one_of(*divisors), scale=False, center=w.one_of(True, False)),
        layers.LayerNormalization(axis=w.one_of(-1, (1, 2, 3)), epsilon=w.one_of(1e-3, 1e-6)),
        InstanceNormalization(),
        layers.UnitNormalization(axis=w.one_of(-1, (1, 2))),
    )
    return layer(x)


def activation(w: Writer, x: Tensor) -> Tensor:
    return w.one_of(
        layers.Activation(w.one_of(*_ACTIVATIONS)),
        layers.ReLU(max_value=w.one_of(None, 0.8), negative_slope=w.one_of(0.0, 0.1)),
        layers.LeakyReLU(0.3),
        layers.PReLU(alpha_initializer="glorot_uniform", shared_axes=[1, 2]),
        layers.PReLU(alpha_initializer="glorot_uniform"),
        layers.ELU(0.7),
        ops.relu,
        ops.silu,
        ops.gelu,
        ops.hard_sigmoid,
        ops.softplus,
        lambda x: ops.leaky_relu(x, 0.25),
    )(x)


def pooling(w: Writer, x: Tensor) -> Tensor:
    if min(x.shape[1:3]) < 5:
        return x + 0.5
    kind = w.one_of(layers.MaxPooling2D, layers.AveragePooling2D)
    return kind(w.one_of(2, 3), strides=w.one_of(1, 2), padding=w.one_of("same", "valid"))(x)


def resizing(w: Writer, x: Tensor) -> Tensor:
    height, width = (int(side) for side in w.random.integers(5, 25, 2))
    small = x.shape[1] * x.shape[2] * 4 <= _MOST_PIXELS
    return w.one_of(
        layers.UpSampling2D((2, 1) if small else 1),
        layers.UpSampling2D(2 if small else 1, interpolation="bilinear"),
        layers.Resizing(height, width, interpolation=w.one_of("bilinear", "nearest")),
        lambda x: ops.image.resize(x, (height, width), interpolation=w.one_of("bilinear", "nearest")),
    )(x)


def padding(w: Writer, x: Tensor) -> Tensor:
    rim = [[0, 0], [1, 0], [2, 1], [0, 0]]
    return w.one_of(
        layers.ZeroPadding2D(((1, 2), (0, 1))),
        ReflectionPadding2D(2),
        layers.Cropping2D(((1, 0), (1, 1))),
        lambda x: ops.pad(x, rim),
        lambda x: ops.pad(x, rim, constant_values=0.4),
        lambda x: ops.pad(x, rim, mode="reflect"),
    )(x)


def arithmetic(w: Writer, x: Tensor) -> Tensor:
    a, b, row = w.number(), w.number(), w.array(w.channels(x))
    return w.one_of(
        lambda: x * a + b,
        lambda: a - x,
        lambda: 1 / (1 + abs(x)) - b,
        lambda: x / a,
        lambda: -x * row,
        lambda: ops.clip(x + 0.3, 0.0, 1.0),
        lambda: ops.where(x > 0.1, x, a * x),
        # TensorFlow with oneDNN takes it for a leaky ReLU, which it isn't for a factor above 1: test_refusal.py.
        lambda: ops.maximum(x, (a if a <= 1 else 1 / a) * x) - ops.minimum(x, 0.2),
        lambda: ops.tanh(x) * ops.convert_to_tensor(row),
        lambda: ops.sqrt(ops.square(x) + 1e-2),
        lambda: x - ops.mean(x, axis=w.one_of((1, 2), -1, 1), keepdims=True),
        lambda: ops.sum(x * ops.softmax(x, axis=-1), axis=-1, keepdims=True) + x,
        lambda: layers.Rescaling(a, offset=-b)(x),
        lambda: layers.Normalization(mean=list(row), variance=list(1 + row**2))(x),
        lambda: layers.Lambda(lambda t: t * 0.7 + ops.sin(t))(x),
        lambda: x**2 * a,
    )()


def residual(w: Writer, x: Tensor) -> Tensor:
    channels = w.channels(x)
    y = layers.Conv2D(channels, 3, padding="same", activation=w.one_of(*_ACTIVATIONS))(x)
    y = w.one_of(layers.BatchNormalization(), layers.GroupNormalization(1), layers.Dropout(0.3))(y)
    return w.one_of(
        lambda: x + y,
        lambda: x + w.number(0.05, 0.5) * y,
        lambda: layers.Add()([x, y, x]),
        lambda: layers.Subtract()([x, y]),
        lambda: layers.Multiply()([x, y]),
        lambda: layers.Average()([x, y]),
        lambda: layers.Maximum()([x, y]),
        lambda: layers.Minimum()([x, y]),
        lambda: layers.Concatenate(axis=w.one_of(-1, 1))([x, y]),
        lambda: ops.concatenate([y, 0.5 * x], axis=w.one_of(-1, 2)),
    )()


def squeeze_excitation(w: Writer, x: Tensor) -> Tensor:
    channels = w.channels(x)
    kind = w.one_of("conv", "dense", "ops")
    if kind == "conv":
        s = layers.GlobalAveragePooling2D(keepdims=True)(x)
        s = layers.Conv2D(channels, 1, activation="hard_sigmoid")(layers.Conv2D(4, 1, activation="relu")(s))
    elif kind == "dense":
        s = layers.Dense(channels, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
        s = layers.Reshape((1, 1, channels))(s)
    else:
        s = layers.Dense(channels)(ops.max(x, axis=(1, 2)))
        s = ops.expand_dims(ops.expand_dims(ops.sigmoid(s), 1), 1)
    return w.one_of(lambda: x * s, lambda: layers.Multiply()([x, s]))()


def attention(w: Writer, x: Tensor) -> Tensor:
    height, width, channels = x.shape[1:]
    # The norm of one channel is zero, and what rounding makes of that is not the same anywhere.
    if height * width > 200 or channels == 1:
        return squeeze_excitation(w, x)
    tokens = w.one_of(
        layers.Reshape((height * width, channels)), lambda t: ops.reshape(t, (-1, height * width, channels))
    )
    t = layers.LayerNormalization()(tokens(x))
    kind = w.one_of("layer", "by_hand", "einsum")
    if kind == "layer":
        t = t + layers.MultiHeadAttention(2, 4)(t, t)
    else:
        q, k, v = (layers.Dense(channels)(t) for _ in range(3))
        if kind == "by_hand":
            scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / channels**0.5)
            t = t + scores @ v
        else:
            scores = layers.Softmax()(ops.einsum("bqc,bkc->bqk", q, k) * 0.3)
            t = t + ops.einsum("bqk,bkc->bqc", scores, v)
    return layers.Reshape((height, width, channels))(t)


def condition(w: Writer, x: Tensor) -> Tensor:
    channels = w.channels(x)
    if w.one_of(True, False):
        return x * ops.reshape(w.take(w.scalar), (-1, 1, 1, 1)) + x
    scale, shift = ops.split(layers.Dense(2 * channels)(w.take(w.vector)), 2, axis=-1)
    return x * (1 + layers.Reshape((1, 1, channels))(scale)) + shift[:, None, None, :]


def shared(w: Writer, x: Tensor) -> Tensor:
    conv = layers.Conv2D(w.channels(x), 3, padding="same", activation="tanh")
    return conv(conv(x) * 0.5 + x)


def nested(w: Writer, x: Tensor) -> Tensor:
    shape, channels = tuple(x.shape[1:]), w.channels(x)
    if w.one_of(True, False):
        inner = keras.Sequential(
            [keras.Input(shape), layers.Conv2D(channels, 1), layers.BatchNormalization(), layers.Activation("relu")]
        )
    else:
        entry = keras.Input(shape)
        y = layers.DepthwiseConv2D(3, padding="same")(entry)
        inner = keras.Model(entry, entry * 0.5 + layers.LeakyReLU()(y))
    return w.one_of(lambda: inner(x), lambda: inner(inner(x)))()


def moving(w: Writer, x: Tensor) -> Tensor:
    height, width, channels = x.shape[1:]
    return w.one_of(
        lambda: ops.flip(x, axis=w.one_of(1, 2)),
        lambda: x[:, 1:, :-1],
        lambda: x[:, ::-1] + x,
        lambda: ops.transpose(x, (0, 2, 1, 3)),
        lambda: layers.Permute((2, 1, 3))(x),
        lambda: ops.concatenate(ops.split(x, [1], axis=-1)[::-1], axis=-1) if channels > 1 else x,
        lambda: ops.reshape(x, (-1, height, 1, width * channels)) if width * channels <= _MOST_CHANNELS else -x,
        lambda: x + x[..., :1],
        lambda: ops.stack([x, 2 * x], axis=-1)[..., 1],
        lambda: ops.repeat(x, 2, axis=1) if 2 * height * width < _MOST_PIXELS else x,
    )()


STEPS: tuple[Callable[[Writer, Tensor], Tensor], ...] = (
    *(convolution, convolution, convolution, norm, norm, activation, activation, pooling, resizing, padding),
    *(arithmetic, arithmetic, residual, residual, squeeze_excitation, attention, condition, shared, nested, moving),
)


def random_network(seed: int) -> keras.Model:
    """Return a functional network that `seed` decides, with weights in which a forgotten one shows."""
    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()  # the names of layers count from 1 again
    w = Writer(seed)
    precision = w.one_of(*_PRECISIONS)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        x = w.image
        for _ in range(int(w.random.integers(3, 9))):
            step = w.one_of(*STEPS)
            w.steps.append(step.__name__)
            x = _bounded(step(w, x))
        model = keras.Model(w.used, _outputs(w, x), name=f"network_{seed}_{precision}")
    finally:
        keras.config.set_dtype_policy(before)
    randomize(model, w.random)
    return model


def _bounded(x: Tensor) -> Tensor:
    """Keep the network small, whatever its steps do."""
    if x.shape[1] * x.shape[2] > _MOST_PIXELS:
        x = layers.AveragePooling2D(2)(x)
    if x.shape[-1] > _MOST_CHANNELS:
        x = layers.Conv2D(_MOST_CHANNELS // 2, 1)(x)
    return x


def _outputs(w: Writer, x: Tensor) -> Tensor | list[Tensor] | dict[str, Tensor]:
    picture = layers.Conv2D(3, 3, padding="same", activation="tanh", dtype="float32", name="picture")(x)
    features = layers.GlobalAveragePooling2D()(x)
    scores = layers.Dense(4, activation="softmax", dtype="float32", name="scores")(features)
    return w.one_of(
        lambda: picture,
        lambda: picture * 0.5 + 0.5,
        lambda: scores,
        lambda: [picture, scores],
        lambda: {"picture": ops.clip(picture * 1.03 + 0.01, -1, 1), "scores": scores},
    )()


def randomize(model: keras.Model, random: np.random.Generator) -> None:
    """Give norms scales, offsets and statistics as after a training; untrained ones hide mistakes."""
    ranges = {"gamma": (0.4, 1.3), "beta": (-0.3, 0.3), "bias": (-0.2, 0.2), "moving_mean": (-0.3, 0.3)}
    ranges |= {"moving_variance": (0.5, 1.6)}
    for weight in model.weights:
        if weight.name in ranges:
            weight.assign(random.uniform(*ranges[weight.name], weight.shape))


def example(model: keras.Model, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return inputs of a network by the names of its input layers."""
    random = np.random.default_rng(seed)
    return {
        tensor.name: random.uniform(-1, 1, (batch, *tensor.shape[1:])).astype("float32") for tensor in model.inputs
    }
