"""How much of a latent space a VAE uses."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasgen")
class ActiveUnits(keras.metrics.Metric):
    """Number of latent dimensions whose posterior mean varies over the data: Var_x(z_mean) > 0.01.

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (2016, 1509.00519), section 5.2.

    Args:
        latent_dim: size of z.
        threshold: least variance of an active dimension.
    """

    def __init__(
        self, latent_dim: int, threshold: float = 0.01, name: str = "active_units", dtype: str | None = None
    ):
        super().__init__(name=name, dtype=dtype)
        self.latent_dim, self.threshold = latent_dim, threshold
        self.count = self.add_variable((), "zeros", name="count")
        self.sums = self.add_variable((latent_dim,), "zeros", name="sums")
        self.squares = self.add_variable((latent_dim,), "zeros", name="squares")

    def update_state(self, z_mean, sample_weight=None) -> None:
        """Add a batch of posterior means [batch, latent_dim]; `sample_weight` is ignored."""
        z_mean = ops.cast(z_mean, self.dtype)
        self.count.assign_add(ops.cast(ops.shape(z_mean)[0], self.dtype))
        self.sums.assign_add(ops.sum(z_mean, axis=0))
        self.squares.assign_add(ops.sum(z_mean * z_mean, axis=0))

    def result(self):
        """Return the number of active dimensions as a float scalar."""
        count = ops.maximum(self.count, 1.0)
        mean = self.sums / count
        variance = self.squares / count - mean * mean
        return ops.sum(ops.cast(variance > self.threshold, self.dtype))

    def get_config(self) -> dict:
        return {**super().get_config(), "latent_dim": self.latent_dim, "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="kerasgen")
class Perplexity(keras.metrics.Metric):
    """How many codes of a codebook are used, over all data seen: exp of the entropy of their shares, 1 to `codes`.

    Args:
        codes: how many there are.
    """

    def __init__(self, codes: int, name: str = "perplexity", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)
        self.codes = codes
        self.uses = self.add_variable((codes,), "zeros", name="uses")

    def update_state(self, uses, sample_weight=None) -> None:
        """Add how often each code was used, [codes]; `sample_weight` is ignored."""
        self.uses.assign_add(ops.cast(uses, self.dtype))

    def result(self):
        """Return the perplexity as a float scalar."""
        shares = self.uses / ops.maximum(ops.sum(self.uses), 1e-12)
        return ops.exp(-ops.sum(shares * ops.log(ops.maximum(shares, 1e-30))))

    def get_config(self) -> dict:
        return {**super().get_config(), "codes": self.codes}
