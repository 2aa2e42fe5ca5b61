"""The ResNet generator of CycleGAN (Zhu et al. 2017, 1703.10593, after Johnson et al. 2016)."""

import keras
from keras import layers

from kerasgen.errors import UserError
from kerasgen.layers import Cropping2D, ReflectionPadding2D
from kerasgen.networks.norms import apply_norm, check_channels, check_layout, check_norm, needs_bias, normal_init
from kerasgen.networks.separable import separable_conv


def resnet_generator(
    channels: int = 3,
    out_channels: int | None = None,
    *,
    filters: int = 64,
    blocks: int = 9,
    downsamplings: int = 2,
    stem_kernel: int = 7,
    norm: str = "instance",
    upsampling: str = "transpose",
    residual: bool = False,
    separable: bool = False,
    name: str = "resnet_generator",
) -> keras.Model:
    """Build a translation network `[batch, H, W, channels]` → `[batch, H, W, out_channels]`, float32.

    Images are in [-1, 1]; H and W are free, but multiples of `2 ** downsamplings`. With the defaults it is
    the paper's 11.38 M parameter network for 256 pixels and more; the paper takes 6 blocks below that.

    Args:
        channels: of the input image, 1 to 64.
        out_channels: of the output image; None means as many as the input's.
        filters: of the first convolution; each downsampling doubles them.
        blocks: residual blocks at the lowest resolution.
        downsamplings: stride-2 convolutions, and as many upsamplings.
        stem_kernel: odd size of the first and last convolutions' kernels.
        norm: "instance", "affine_instance", "batch", "batch_of_one" (see `apply_norm`) or "none".
        upsampling: "transpose", the paper's transposed convolutions, or "resize", nearest-neighbor enlargement
            and a convolution, which can't leave checkerboards (Odena et al. 2016).
        residual: add the network's output to its input instead of ending in tanh, starting from the identity.
            For translations that keep the content, it rules out solutions such as a color negative; the
            output isn't bounded then.
        separable: take the residual blocks' convolutions apart (`separable_conv`), for phones: with 64 filters and 9
            blocks a fifth of the multiplications, and with 16 filters a fiftieth.
        name: of the Keras model.

    Raises:
        UserError: an argument is not one of those above.

    Example:
        resnet_generator(filters=8, blocks=2)
    """
    out_channels = out_channels or channels
    _check(channels, out_channels, norm, upsampling, residual, stem_kernel)

    inputs = keras.Input((None, None, channels), name="image")
    x = ReflectionPadding2D(stem_kernel // 2, name="stem_pad")(inputs)
    x = layers.Conv2D(filters, stem_kernel, name="stem_conv", **_options(norm))(x)
    x = layers.ReLU(name="stem_relu")(apply_norm(x, norm, "stem_norm"))
    for i in range(1, downsamplings + 1):
        x = layers.ZeroPadding2D(1, name=f"down{i}_pad")(x)  # SAME would pad at the bottom and right only
        x = layers.Conv2D(filters * 2**i, 3, strides=2, name=f"down{i}_conv", **_options(norm))(x)
        x = layers.ReLU(name=f"down{i}_relu")(apply_norm(x, norm, f"down{i}_norm"))
    for i in range(1, blocks + 1):
        x = _residual_block(x, norm, separable, f"block{i}")
    for i in range(1, downsamplings + 1):
        x = _upsample(x, filters * 2 ** (downsamplings - i), upsampling, norm, f"up{i}")
        x = layers.ReLU(name=f"up{i}_relu")(apply_norm(x, norm, f"up{i}_norm"))
    x = ReflectionPadding2D(stem_kernel // 2, name="head_pad")(x)
    init = "zeros" if residual else normal_init()
    x = layers.Conv2D(out_channels, stem_kernel, kernel_initializer=init, name="head_conv")(x)
    if residual:
        outputs = layers.Add(dtype="float32", name="generated")([inputs, x])
    else:
        outputs = layers.Activation("tanh", dtype="float32", name="generated")(x)
    return keras.Model(inputs, outputs, name=name)


def _options(norm: str) -> dict:
    # A new initializer for each layer: one object would give layers of the same shape the same weights.
    return {"use_bias": needs_bias(norm), "kernel_initializer": normal_init()}


def _residual_block(x: keras.KerasTensor, norm: str, separable: bool, name: str) -> keras.KerasTensor:
    def convolved(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if separable:
            return separable_conv(x, norm, name)
        return layers.Conv2D(x.shape[-1], 3, name=name, **_options(norm))(x)

    y = convolved(ReflectionPadding2D(1, name=f"{name}_pad1")(x), f"{name}_conv1")
    y = layers.ReLU(name=f"{name}_relu")(apply_norm(y, norm, f"{name}_norm1"))
    y = convolved(ReflectionPadding2D(1, name=f"{name}_pad2")(y), f"{name}_conv2")
    y = apply_norm(y, norm, f"{name}_norm2")
    return layers.Add(name=f"{name}_add")([x, y])  # no activation after the sum


def _upsample(x: keras.KerasTensor, filters: int, kind: str, norm: str, name: str) -> keras.KerasTensor:
    if kind == "resize":
        x = layers.UpSampling2D(2, name=f"{name}_resize")(x)
        x = ReflectionPadding2D(1, name=f"{name}_pad")(x)
        return layers.Conv2D(filters, 3, name=f"{name}_conv", **_options(norm))(x)
    x = layers.Conv2DTranspose(filters, 3, strides=2, name=f"{name}_conv", **_options(norm))(x)
    # PyTorch's padding 1 with output padding 1: the first row and column go, where SAME drops the last.
    return Cropping2D(((1, 0), (1, 0)), name=f"{name}_crop")(x)


def _check(channels: int, out_channels: int, norm: str, upsampling: str, residual: bool, stem_kernel: int) -> None:
    check_layout()
    check_norm(norm)
    check_channels(channels)
    check_channels(out_channels)
    if upsampling not in ("transpose", "resize"):
        raise UserError(f"upsampling={upsampling!r} is unknown: choose 'transpose' or 'resize'.")
    if residual and channels != out_channels:
        raise UserError(
            f"residual=True adds the output ({out_channels} channels) to the input ({channels} channels): "
            "give both the same number of channels."
        )
    if stem_kernel < 1 or stem_kernel % 2 == 0:
        raise UserError(f"stem_kernel={stem_kernel} has no middle pixel: give an odd number, such as 7.")
