"""Layers that Keras lacks, in keras.ops: they run under every Keras backend."""

import random

import keras
from keras import ops

from kerasgen.losses import LOG_VAR_RANGE


@keras.saving.register_keras_serializable(package="kerasgen")
class ReflectionPadding2D(keras.layers.Layer):
    """Mirror the image outside its border, without repeating the border pixel.

    Input `[batch, height, width, channels]`, output `[batch, height + 2p, width + 2p, channels]`.
    Height and width must be larger than `padding`.

    Args:
        padding: pixels on each of the four sides.

    Example:
        ReflectionPadding2D(3)(np.zeros((1, 8, 8, 3)))  # [1, 14, 14, 3]
    """

    def __init__(self, padding: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs):
        p = self.padding
        return ops.pad(inputs, [[0, 0], [p, p], [p, p], [0, 0]], mode="reflect")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        grown = [None if size is None else size + 2 * self.padding for size in (height, width)]
        return (batch, *grown, channels)

    def get_config(self) -> dict:
        return {**super().get_config(), "padding": self.padding}


@keras.saving.register_keras_serializable(package="kerasgen")
class Cropping2D(keras.layers.Cropping2D):
    """Keras' cropping, with a gradient on all cores: that of Keras' indexing takes one, under TensorFlow on a CPU."""

    def call(self, inputs):
        if self.data_format == "channels_first":
            return super().call(inputs)
        (top, bottom), (left, right) = self.cropping
        batch, height, width, channels = ops.shape(inputs)
        shape = (batch, height - top - bottom, width - left - right, channels)
        return ops.slice(inputs, (0, top, left, 0), shape)


@keras.saving.register_keras_serializable(package="kerasgen")
class InstanceNormalization(keras.layers.Layer):
    """Normalize every channel of every image by its own mean and variance (Ulyanov et al. 2016, 1607.08022).

    Input and output `[batch, height, width, channels]`. The statistics are computed in float32 even where the layer's
    precision is lower, and in float64 if it is that.

    Args:
        epsilon: added to the variance.
        affine: learn a scale and an offset of each channel, as batch normalization does; CycleGAN has none.
        gamma_initializer: of the scale.

    Example:
        InstanceNormalization()(np.zeros((1, 8, 8, 3)))
    """

    def __init__(
        self,
        epsilon: float = 1e-5,
        affine: bool = False,
        gamma_initializer: "str | dict | keras.Initializer" = "ones",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.epsilon, self.affine = epsilon, affine
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.gamma = self.beta = None

    def build(self, input_shape):
        if self.affine:
            shape = (input_shape[-1],)
            self.gamma = self.add_weight(name="gamma", shape=shape, initializer=self.gamma_initializer)
            self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")

    def call(self, inputs, training=False):
        # Training one image at a time is CycleGAN's default, and there instance and batch statistics are the
        # same: TensorFlow's fused kernel then takes half the time of the formula. Inference keeps the formula,
        # because no exporter converts a batch normalization in training mode. The kernel knows no float64.
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        alone = training and inputs.shape[0] == 1 and dtype == "float32"
        if alone and keras.backend.backend() == "tensorflow":
            return _fused_batch_norm(inputs, self.epsilon, self.gamma, self.beta)
        x = ops.cast(inputs, dtype)
        centered = x - ops.mean(x, axis=(1, 2), keepdims=True)
        variance = ops.mean(centered * centered, axis=(1, 2), keepdims=True)
        x = centered * ops.rsqrt(variance + self.epsilon)
        if self.affine:
            x = x * ops.cast(self.gamma, dtype) + ops.cast(self.beta, dtype)
        return ops.cast(x, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        config = {**super().get_config(), "epsilon": self.epsilon, "affine": self.affine}
        return {**config, "gamma_initializer": keras.initializers.serialize(self.gamma_initializer)}


@keras.saving.register_keras_serializable(package="kerasgen")
class GroupNormalization(keras.layers.GroupNormalization):
    """Keras' group normalization, of pictures in two thirds of the time on a CPU (Wu & He 2018, 1803.08494).

    Input and output `[batch, height, width, channels]`. Arguments, weights and numbers are Keras' layer's, which
    reduces five-dimensional tensors: here each channel is reduced, and then the few means of a group's channels.

    Example:
        GroupNormalization(2)(np.zeros((1, 8, 8, 4)))
    """

    def call(self, inputs):
        if len(inputs.shape) != 4 or self.axis not in (-1, 3):
            return super().call(inputs)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        x = x - self._group_means(x)
        scale = ops.rsqrt(self._group_means(x * x) + self.epsilon)
        x = x * (scale if self.gamma is None else scale * ops.cast(self.gamma, x.dtype))
        if self.beta is not None:
            x = x + ops.cast(self.beta, x.dtype)
        return ops.cast(x, self.compute_dtype)

    def _group_means(self, x):
        """Return the mean of its group for each channel: [batch, 1, 1, channels]."""
        channels = x.shape[-1]
        of_channels = ops.reshape(ops.mean(x, axis=(1, 2)), (-1, self.groups, channels // self.groups))
        # One operation, where TensorFlow's `repeat` makes fifteen; exporters take long for those.
        repeated = ops.mean(of_channels, -1, keepdims=True) * ops.ones((channels // self.groups,), x.dtype)
        return ops.reshape(repeated, (-1, 1, 1, channels))


def _fused_batch_norm(inputs, epsilon: float, scale=None, offset=None):
    import tensorflow as tf

    channels = inputs.shape[-1]
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.ones([channels]) if scale is None else tf.cast(scale, tf.float32),
        offset=tf.zeros([channels]) if offset is None else tf.cast(offset, tf.float32),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    ).y


@keras.saving.register_keras_serializable(package="kerasgen")
class NoiseDropout(keras.layers.Dropout):
    """Dropout that can stay on at test: pix2pix' only noise (Isola et al. 2017, 1611.07004, section 3.2).

    Args:
        rate: share of the values that become 0; the others are divided by the rest.
        at_test: whether values are dropped at test too, so that the same picture has many answers.
        seed: of the draws; None draws one, which its configuration keeps.
    """

    def __init__(self, rate: float, at_test: bool = False, seed: int | None = None, **kwargs):
        # As Keras draws one, which keras.utils.set_random_seed determines; but Keras wouldn't keep it.
        super().__init__(rate, seed=random.randint(1, 10**9) if seed is None else seed, **kwargs)
        self.at_test = at_test

    def call(self, inputs, training=False):
        return super().call(inputs, training=training or self.at_test)

    def get_config(self) -> dict:
        return {**super().get_config(), "at_test": self.at_test}


@keras.saving.register_keras_serializable(package="kerasgen")
class SyncBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization whose statistics cover all replicas of a distributed training step.

    Keras refuses `synchronized=True` outside TensorFlow, so that a network saved with it would not load under
    another backend: this layer decides when it is created, and keeps the choice out of its configuration.
    """

    def __init__(self, **kwargs):
        super().__init__(synchronized=keras.backend.backend() == "tensorflow", **kwargs)

    def get_config(self) -> dict:
        config = super().get_config()
        del config["synchronized"]
        return config


@keras.saving.register_keras_serializable(package="kerasgen")
class Sampling(keras.layers.Layer):
    """Draw z ~ N(z_mean, exp(z_log_var)) by the reparameterization trick (Kingma and Welling 2014, 1312.6114).

    Inputs `[z_mean, z_log_var]`, each `[batch, latent_dim]`; output float32 `[batch, latent_dim]`.
    Log-variances are clipped to [-30, 20] and exponentiated in float32.

    Args:
        seed: an integer, or a `keras.random.SeedGenerator` to draw from.
    """

    def __init__(self, seed: "int | keras.random.SeedGenerator | None" = None, **kwargs):
        super().__init__(dtype=kwargs.pop("dtype", "float32"), **kwargs)
        self.seed_generator = (
            seed if isinstance(seed, keras.random.SeedGenerator) else keras.random.SeedGenerator(seed)
        )

    def call(self, inputs):
        z_mean, z_log_var = inputs
        noise = keras.random.normal(ops.shape(z_mean), dtype="float32", seed=self.seed_generator)
        return reparameterize(z_mean, z_log_var, noise)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self) -> dict:
        return {**super().get_config(), "seed": self.seed_generator.seed}

    # Keras doesn't save a generator's state: without it, training from a file would repeat its noise.
    def save_own_variables(self, store) -> None:
        super().save_own_variables(store)
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store) -> None:
        self.seed_generator.state.assign(store["seed_state"])


def reparameterize(z_mean, z_log_var, noise):
    """z_mean + exp(z_log_var / 2) · noise in float32, all of one shape."""
    log_var = ops.clip(ops.cast(z_log_var, "float32"), *LOG_VAR_RANGE)
    return ops.cast(z_mean, "float32") + ops.exp(0.5 * log_var) * noise
