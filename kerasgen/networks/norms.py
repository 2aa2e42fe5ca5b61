"""What the translation networks share: the choice of normalization and the paper's initial weights."""

import keras

from kerasgen.errors import UserError
from kerasgen.layers import InstanceNormalization, SyncBatchNormalization

NORMS = ("instance", "affine_instance", "batch", "batch_of_one", "none")


def normal_init() -> keras.initializers.Initializer:
    """Give the initial weights of CycleGAN and pix2pix: N(0, 0.02)."""
    return keras.initializers.RandomNormal(0.0, 0.02)


def check_layout() -> None:
    """Raise `UserError` if Keras' layers take the channels first by default: these networks take them last."""
    if keras.config.image_data_format() != "channels_last":
        raise UserError(
            f"Keras' image_data_format is {keras.config.image_data_format()!r}, but images here are "
            "[batch, height, width, channels]: set it to 'channels_last' in keras.json, or by "
            "keras.config.set_image_data_format."
        )


def check_norm(norm: str) -> None:
    """Raise `UserError` unless `norm` is one of `NORMS`."""
    if norm not in NORMS:
        raise UserError(f"norm={norm!r} is unknown: choose one of {', '.join(map(repr, NORMS))}.")


def check_channels(channels: int) -> None:
    """Raise `UserError` unless `channels` is 1 to 64 (gray, RGB, RGBA, spectra, conditions beside a picture)."""
    if channels not in range(1, 65):
        raise UserError(f"An image of {channels} channels was asked for: give 1 to 64 channels.")


def needs_bias(norm: str) -> bool:
    """Tell whether a convolution before this norm has a bias: batch normalization brings its own."""
    return norm not in ("batch", "batch_of_one")


def apply_norm(x: keras.KerasTensor, norm: str, name: str) -> keras.KerasTensor:
    """Normalize `x` as `norm` says; batch normalization has PyTorch's momentum and epsilon.

    "batch_of_one" is batch normalization as pix2pix trains and tests with it: one picture at a time, by the picture's
    own statistics. These are an instance normalization's, with a scale and an offset.
    """
    if norm in ("instance", "affine_instance"):
        return InstanceNormalization(affine=norm == "affine_instance", name=name)(x)
    if norm == "batch_of_one":
        gamma = keras.initializers.RandomNormal(1.0, 0.02)
        return InstanceNormalization(affine=True, gamma_initializer=gamma, name=name)(x)
    if norm == "batch":
        gamma = keras.initializers.RandomNormal(1.0, 0.02)
        return SyncBatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=name)(x)
    return x
