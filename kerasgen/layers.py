"""Layers that Keras lacks, in keras.ops: they run under every Keras backend."""

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

    Input and output `[batch, height, width, channels]`. No learned scale or offset, as in CycleGAN.
    The statistics are computed in float32 whatever the layer's precision.

    Args:
        epsilon: added to the variance.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs, training=False):
        # Training one image at a time is CycleGAN's default, and there instance and batch statistics are the
        # same: TensorFlow's fused kernel then takes half the time of the formula. Inference keeps the formula,
        # because no exporter converts a batch normalization in training mode.
        if training and inputs.shape[0] == 1 and keras.backend.backend() == "tensorflow":
            return _fused_batch_norm(inputs, self.epsilon)
        x = ops.cast(inputs, "float32")
        centered = x - ops.mean(x, axis=(1, 2), keepdims=True)
        variance = ops.mean(centered * centered, axis=(1, 2), keepdims=True)
        return ops.cast(centered * ops.rsqrt(variance + self.epsilon), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "epsilon": self.epsilon}


def _fused_batch_norm(inputs, epsilon: float):
    import tensorflow as tf

    channels = inputs.shape[-1]
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.ones([channels]),
        offset=tf.zeros([channels]),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    ).y


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
