"""Filling a hole: a harmonic surface from its rim first, then a U-Net that adds what a surface lacks."""

import keras
from keras import layers, ops

from kerasgen.networks.norms import check_layout

_WIDTHS = (48, 64, 96)
# Of the first convolution: at a quarter of the resolution, training is twice as fast and fills as well.
_STRIDE = 4


def inpainter(*, filters: tuple[int, ...] = _WIDTHS, name: str = "inpainter") -> keras.Model:
    """Build `[batch, H, W, 4]` → `[batch, H, W, 3]`, float32, images in [-1, 1].

    The fourth channel is positive where a pixel is known; in the hole, the colors are ignored. Known pixels come out
    exactly as they went in. What the U-Net sees is measured by the mean and the spread of the known pixels. H and W
    must be multiples of `2 ** (len(filters) + 1)`, and 2 · 2⁵ = 64 at least.

    Args:
        filters: channels at 1/4, 1/8, … of the resolution.
        name: of the Keras model.
    """
    check_layout()
    inputs = keras.Input((None, None, 4), name="image")
    known = ops.cast(inputs[..., 3:] > 0, inputs.dtype)
    mean, spread = _statistics(inputs[..., :3], known)
    filled = HarmonicFill(name="harmonic")([inputs[..., :3], known])
    x = layers.Concatenate(name="seen")([(filled - mean) / spread, known])
    x = _unet(x, filters)
    detail = layers.Conv2DTranspose(
        3,
        3 * _STRIDE,
        strides=_STRIDE,
        padding="same",
        kernel_initializer="zeros",
        dtype="float32",
        name="detail",
    )(x)
    # Multiplied by 1 and with 0 added, a known pixel stays what it is.
    outputs = known * inputs[..., :3] + (1.0 - known) * (filled + spread * detail)
    outputs = layers.Activation("linear", dtype="float32", name="inpainted")(outputs)
    return keras.Model(inputs, outputs, name=name)


def _statistics(colors: keras.KerasTensor, known: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Mean of each channel over the known pixels, and one spread of all channels around them."""
    count = ops.sum(known, axis=(1, 2), keepdims=True) + 1e-6
    mean = ops.sum(colors * known, axis=(1, 2), keepdims=True) / count
    variance = ops.sum(ops.square(colors - mean) * known, axis=(1, 2), keepdims=True) / count
    return mean, ops.sqrt(ops.mean(variance, axis=-1, keepdims=True)) + 0.05


def _unet(x: keras.KerasTensor, filters: tuple[int, ...]) -> keras.KerasTensor:
    def convolved(x, width: int, name: str, size: int = 3, strides: int = 1):
        # With ReLU, five of six units of the last layer died in a training, and left the harmonic surface as it was.
        return layers.Conv2D(
            width, size, strides, padding="same", activation="leaky_relu", kernel_initializer="he_normal", name=name
        )(x)

    skips = []
    for i, width in enumerate(filters, 1):
        stride = _STRIDE if i == 1 else 2
        x = convolved(x, width, f"down{i}_conv", 2 * stride, stride)
        x = convolved(x, width, f"down{i}_conv2")
        skips.append(x)
    x = convolved(x, filters[-1], "bottom")
    for i in range(len(filters) - 1, 0, -1):
        x = layers.UpSampling2D(2, name=f"up{i}_resize")(x)
        x = layers.Concatenate(name=f"skip{i}")([skips[i - 1], x])
        x = convolved(x, filters[i - 1], f"up{i}_conv")
    return convolved(x, filters[0], "last")


@keras.saving.register_keras_serializable(package="kerasgen")
class HarmonicFill(keras.layers.Layer):
    """Fill the unknown pixels with a smooth surface from the known ones, coarse to fine.

    Inputs colors `[batch, H, W, channels]` and known `[batch, H, W, 1]`, 1 or 0; output like the colors. A pyramid
    of means of known pixels (push and pull; Gortler et al. 1996) starts Jacobi's iteration of Laplace's equation at
    each level. No weights. H and W must be more than `2 ** levels`.

    Args:
        levels: halvings; a hole wider than `2 ** levels` pixels begins as the mean of the known pixels.
        iterations: Jacobi steps at each level.
    """

    def __init__(self, levels: int = 5, iterations: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.levels, self.iterations = levels, iterations

    def call(self, inputs):
        colors, known = inputs
        pyramid = [(colors * known, known)]
        for _ in range(self.levels):
            colors, known = pyramid[-1]
            share = ops.average_pool(known, 2, 2, padding="same")
            colors = ops.average_pool(colors * known, 2, 2, padding="same") / ops.maximum(share, 1e-6)
            pyramid.append((colors, ops.cast(share > 0, colors.dtype)))
        colors, known = pyramid[-1]
        count = ops.maximum(ops.sum(known, axis=(1, 2), keepdims=True), 1.0)
        filled = colors + (1.0 - known) * ops.sum(colors, axis=(1, 2), keepdims=True) / count
        for colors, known in reversed(pyramid[:-1]):
            filled = ops.repeat(ops.repeat(filled, 2, axis=1), 2, axis=2)
            filled = filled[:, : ops.shape(colors)[1], : ops.shape(colors)[2]]
            filled = colors * known + (1.0 - known) * filled
            for _ in range(self.iterations):
                filled = colors * known + (1.0 - known) * _neighbors_mean(filled)
        return filled

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self) -> dict:
        return {**super().get_config(), "levels": self.levels, "iterations": self.iterations}


def _neighbors_mean(x):
    p = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")
    return 0.25 * (p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:])
