"""The two-stage VAE: a second VAE learns the distribution of the first one's latents."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import numpy as np

from kerasgen.errors import UserError
from kerasgen.samplers.base import Sampler, Samples, moments_of
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    from kerasgen.models import VAE

_LEAST_STEPS, _BATCH = 1500, 128


class TwoStageSampler(Sampler):
    """z = decoder₂(u) + γ · noise with u ~ N(0, I), by a VAE that is trained on posterior samples of z.

    Dai and Wipf, "Diagnosing and Enhancing VAE Models" (2019, 1903.05789): the second VAE has as many latent
    dimensions as the first, dense layers, and a Gaussian likelihood whose standard deviation γ is learned.

    Args:
        hidden_units: width of the two hidden layers of encoder and decoder.
        epochs: over the latents; None takes as many as make 1,500 steps, and 20 at least.
        bound_samples: K of the bound that `log_prob` gives.
        seed: of weights, order and noise.
        temperature: factor of u and of γ.
    """

    knows_labels = False

    def __init__(
        self,
        hidden_units: int = 256,
        epochs: int | None = None,
        bound_samples: int = 100,
        seed: int = 0,
        temperature: float = 1.0,
    ):
        super().__init__(temperature)
        self.hidden_units, self.epochs, self.bound_samples, self.seed = hidden_units, epochs, bound_samples, seed

    def fit(self, latents: Tensor, labels: Tensor = None, attributes: Mapping[str, Tensor] | None = None) -> Self:
        """Train the second VAE, with new posterior samples in each epoch; labels are not used."""
        import keras

        from kerasgen.training.progress import shown

        mean, variance = moments_of(latents)
        if len(mean) < 2:
            raise UserError(f"{len(mean)} latent was given, but a TwoStageSampler needs at least 2 to learn from.")
        self._center = mean.mean(axis=0)
        self._spread = np.sqrt(mean.var(axis=0) + variance.mean(axis=0)) + 1e-6
        self._vae = self._network(mean.shape[1])
        steps = -(-len(mean) // _BATCH)
        epochs = self.epochs or max(20, -(-_LEAST_STEPS // steps))
        schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps * epochs)
        self._vae.compile(optimizer=keras.optimizers.Adam(schedule))
        rng = np.random.default_rng(self.seed)
        # A second set of noise after each tenth of the training is as good as one in each epoch, and much quicker.
        for part in shown(np.array_split(np.arange(epochs), min(10, epochs)), "training the second stage"):
            z = (mean + np.sqrt(variance) * rng.standard_normal(mean.shape) - self._center) / self._spread
            z = z[rng.permutation(len(z))].astype(np.float32)[:, None, :, None]
            self._vae.fit(z, batch_size=_BATCH, epochs=len(part), shuffle=True, verbose=0)
        self.latent_dim = mean.shape[1]
        return self

    def _network(self, dimensions: int) -> "VAE":
        """Make a VAE whose "images" are 1 × latent_dim × 1."""
        import keras

        from kerasgen.models import VAE

        def hidden(x: Tensor, seed: int) -> Tensor:
            for i in range(2):
                initializer = keras.initializers.GlorotUniform(seed=seed + i)
                x = keras.layers.Dense(self.hidden_units, "relu", kernel_initializer=initializer)(x)
            return x

        def dense(size: int, name: str, x: Tensor, seed: int) -> Tensor:
            return keras.layers.Dense(
                size, name=name, kernel_initializer=keras.initializers.GlorotUniform(seed=seed)
            )(x)

        image = keras.Input((1, dimensions, 1), name="image")
        flat = keras.layers.Flatten()(image)
        x = keras.layers.Concatenate()([hidden(flat, self.seed), flat])
        outputs = {
            name: dense(dimensions, name, x, self.seed + 10 + i) for i, name in enumerate(("z_mean", "z_log_var"))
        }
        z = keras.Input((dimensions,), name="z")
        x = keras.layers.Concatenate()([hidden(z, self.seed + 20), z])
        x = keras.layers.Reshape((1, dimensions, 1))(dense(dimensions, "latents", x, self.seed + 30))
        encoder, decoder = keras.Model({"image": image}, outputs), keras.Model({"z": z}, x)

        class LatentVAE(VAE):
            """A VAE of latents, which have no black and no white."""

            image_range = (-math.inf, math.inf)

        return LatentVAE(
            (1, dimensions, 1),
            dimensions,
            encoder=encoder,
            decoder=decoder,
            likelihood="gaussian",
            sigma="learned",
            seed=self.seed,
        )

    def sample(self, n: int, seed: int | None = None, where: Mapping[str, int] | None = None) -> Samples:
        shape = self._require_count(n, seed)
        self._refuse_evidence(where)
        rng = np.random.default_rng(seed)
        u, noise = self.temperature * rng.standard_normal((2, *shape))
        z = self._vae.decode(u)[:, 0, :, 0] + np.exp(float(self._vae.log_sigma)) * noise
        z = (self._center + self._spread * z).astype(np.float32)
        return Samples(self, z, np.zeros(n, np.int64), [f"second stage, temperature {self.temperature:g}"] * n)

    def log_prob(self, z: Tensor, where: Mapping[str, int] | None = None) -> np.ndarray:
        """Return a lower bound on the log-density in nats (IWAE with `bound_samples`): float64 [n].

        It is NaN at another temperature than 1, at which the encoder's bound is not the sampled density's.
        """
        from kerasgen.metrics.likelihood import iwae_bound

        self._refuse_evidence(where)
        z = self._checked(z)
        if self.temperature != 1:
            return np.full(len(z), np.nan)
        scaled = ((z - self._center) / self._spread)[:, None, :, None]
        weights = self._vae.log_weights(scaled, samples=self.bound_samples, seed=self.seed)
        return iwae_bound(weights) - np.log(self._spread).sum()

    def config(self) -> dict[str, object]:
        own = {"hidden_units": self.hidden_units, "epochs": self.epochs, "bound_samples": self.bound_samples}
        return {**super().config(), **own, "seed": self.seed}

    def state(self) -> dict[str, np.ndarray]:
        networks = {f"weight_{i}": w for i, w in enumerate(self._vae.get_weights())}
        return {**super().state(), "center": self._center, "spread": self._spread, **networks}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        super().restore(state)
        self._center, self._spread = state["center"], state["spread"]
        self._vae = self._network(self._require_fit())
        self._vae.set_weights([state[f"weight_{i}"] for i in range(len(self._vae.get_weights()))])
