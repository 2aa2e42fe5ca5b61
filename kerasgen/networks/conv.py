"""Convolutional encoder and decoder of a VAE, built functionally for any size and channel count."""

from collections.abc import Sequence

import keras
from keras import layers

from kerasgen.errors import UserError
from kerasgen.networks.norms import check_layout


def _check(image_shape: Sequence[int], filters: Sequence[int]) -> tuple[int, int, int]:
    check_layout()
    if len(image_shape) != 3 or not all(isinstance(n, int) and n > 0 for n in image_shape):
        raise UserError(
            f"image_shape is {tuple(image_shape)}, but (height, width, channels) is needed: three positive integers."
        )
    factor = 2 ** len(filters)
    height, width, channels = image_shape
    if height % factor or width % factor:
        raise UserError(
            f"An image of {height}×{width} can't be halved {len(filters)} times (filters={tuple(filters)}): "
            f"choose a height and width divisible by {factor}, or fewer filters."
        )
    return height, width, channels


def conv_encoder(
    image_shape: Sequence[int],
    latent_dim: int,
    filters: Sequence[int] = (32, 64),
    hidden_units: int = 128,
    label_size: int = 0,
) -> keras.Model:
    """Stride-2 3×3 convolutions, one dense layer, and the parameters of a diagonal Gaussian.

    Args:
        image_shape: (height, width, channels); height and width divisible by 2 ** len(filters).
        latent_dim: size of z.
        filters: channels of each stride-2 convolution.
        hidden_units: width of the dense layer.
        label_size: with it, there is a second input "label", [batch, label_size]: one-hot classes, or attributes.

    Returns:
        A model from {"image": [batch, height, width, channels] in [0, 1] (, "label")} to
        {"z_mean": [batch, latent_dim], "z_log_var": [batch, latent_dim]}, both float32.

    Raises:
        UserError: the size doesn't divide.
    """
    shape = _check(image_shape, filters)
    image = keras.Input(shape, name="image")
    inputs = {"image": image}
    x = image
    for i, width in enumerate(filters):
        x = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu", name=f"down_{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    if label_size:
        inputs["label"] = keras.Input((label_size,), name="label")
        x = layers.Concatenate(name="with_label")([x, inputs["label"]])
    x = layers.Dense(hidden_units, activation="relu", name="hidden")(x)
    outputs = {
        # float32 whatever the precision policy: their exponential and the KL need it.
        name: layers.Dense(latent_dim, dtype="float32", name=name)(x)
        for name in ("z_mean", "z_log_var")
    }
    return keras.Model(inputs, outputs, name="encoder")


def conv_decoder(
    latent_dim: int,
    image_shape: Sequence[int],
    filters: Sequence[int] = (64, 32),
    hidden_units: int = 128,
    label_size: int = 0,
) -> keras.Model:
    """Make the mirror of `conv_encoder`: dense layers, then stride-2 transposed convolutions to a picture.

    The last layer is a sigmoid named "image"; what enters it are the logits that a Bernoulli likelihood needs.

    Args:
        latent_dim: size of z.
        image_shape: (height, width, channels); height and width divisible by 2 ** len(filters).
        filters: channels at each resolution, lowest first.
        hidden_units: width of the first dense layer.
        label_size: with it, there is a second input "label", [batch, label_size]: one-hot classes, or attributes.

    Returns:
        A model from {"z": [batch, latent_dim] (, "label")} to float32 images
        [batch, height, width, channels] in [0, 1].

    Raises:
        UserError: the size doesn't divide.
    """
    height, width, channels = _check(image_shape, filters)
    factor = 2 ** len(filters)
    z = keras.Input((latent_dim,), name="z")
    inputs = {"z": z}
    x = z
    if label_size:
        inputs["label"] = keras.Input((label_size,), name="label")
        x = layers.Concatenate(name="with_label")([x, inputs["label"]])
    x = layers.Dense(hidden_units, activation="relu", name="hidden")(x)
    small = (height // factor, width // factor, filters[0])
    x = layers.Dense(small[0] * small[1] * small[2], activation="relu", name="project")(x)
    x = layers.Reshape(small, name="unflatten")(x)
    for i, count in enumerate([*filters[1:], filters[-1]]):
        x = layers.Conv2DTranspose(count, 3, strides=2, padding="same", activation="relu", name=f"up_{i}")(x)
    x = layers.Conv2D(channels, 3, padding="same", dtype="float32", name="logits")(x)
    # As an input is named "z" and the output "image", exported signatures read well.
    image = layers.Activation("sigmoid", dtype="float32", name="image")(x)
    return keras.Model(inputs, image, name="decoder")
