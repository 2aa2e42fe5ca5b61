"""The variational autoencoder, unconditional or conditional on labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses, values
from kerasgen.errors import UserError
from kerasgen.keras_hooks import functional_nodes
from kerasgen.layers import Sampling, reparameterize
from kerasgen.metrics.latent import ActiveUnits
from kerasgen.models.base import ReplicaSeedGenerator
from kerasgen.models.batches import Share
from kerasgen.models.checks import check_made
from kerasgen.models.declarations import ExportedNetwork, Labels, Reported
from kerasgen.models.from_noise import BATCH, FromNoise, in_batches
from kerasgen.models.translation import traced
from kerasgen.networks.conv import conv_decoder, conv_encoder
from kerasgen.presets import Preset
from kerasgen.training.health import Answers, Comparable, Latent, Sign
from kerasgen.training.schedules import Stage
from kerasgen.typing import Batch, Config, Tensor

_EVALUATION_SEED = 20131220


class Posterior(NamedTuple):
    """q(z|x) of some images: diagonal Gaussians.

    Attributes:
        mean: [n, latent_dim].
        log_var: [n, latent_dim], logarithms of the variances.
    """

    mean: np.ndarray
    log_var: np.ndarray

    def mode(self) -> np.ndarray:
        """Return the most probable z of each image: [n, latent_dim]."""
        return self.mean

    def sample(self, seed: int | None = None) -> np.ndarray:
        """One z for each image: [n, latent_dim]."""
        noise = np.random.default_rng(seed).standard_normal(self.mean.shape, dtype=np.float32)
        return self.mean + np.exp(0.5 * np.clip(self.log_var, *losses.LOG_VAR_RANGE)) * noise

    def kl(self) -> np.ndarray:
        """KL(q(z|x) ‖ N(0, I)) of each image and dimension, in nats: [n, latent_dim]."""
        return keras.ops.convert_to_numpy(losses.gaussian_kl(self.mean, self.log_var))


@keras.saving.register_keras_serializable(package="kerasgen")
class VAE(FromNoise):
    """Variational autoencoder (Kingma and Welling 2014, 1312.6114), with β (Higgins et al. 2017) and free bits.

    Trains on dicts {"image": [batch, height, width, channels] in [0, 1] (, "label", "sample_weight")}, on image
    arrays, or on (image, label) pairs. Losses are sums over pixels and latent dimensions, and means over the
    batch, in nats. Training reports `loss` (what is minimized), `reconstruction_loss` (the negative
    log-likelihood) and `kl_loss`; evaluation adds `elbo` (at β = 1, with neither warm-up nor free bits, one
    sample of z with noise that is the same in each evaluation and for each split into batches) and
    `active_units`. The ELBO of a "gaussian" likelihood is a log-density: it can be positive, and can't be
    compared with a "bernoulli" one.

    Args:
        image_shape: (height, width, channels).
        latent_dim: size of z.
        filters: channels of the encoder's stride-2 convolutions; the decoder mirrors them.
        hidden_units: width of the dense layer of each network.
        beta: weight of the KL term.
        likelihood: "bernoulli" or "gaussian".
        sigma: of the Gaussian, in units of the [0, 1] images: a number, "learned" (one weight), or "optimal"
            (the analytic optimum of each batch; Rybkin et al. 2021, 2006.13202; evaluation uses its moving mean).
        kl_warmup_steps: steps over which β grows linearly from 0.
        free_bits: nats of KL in each dimension, on the batch's mean, that cost nothing to use
            (Kingma et al. 2016, 1606.04934); a dimension below it gets no gradient from the KL.
        num_classes: makes both networks conditional on a class, an integer below it (or a vector of shares).
        num_attributes: makes both networks conditional on so many attributes at once, a vector of 0 and 1.
        seed: of the training's noise.
        encoder, decoder: your own networks instead, with the inputs and outputs of
            `kerasgen.networks.conv_encoder` and `conv_decoder`. A Bernoulli likelihood needs the decoder to end
            with `keras.layers.Activation("sigmoid")`.

    Raises:
        UserError: an argument or a network doesn't fit.

    Example:
        vae = VAE((16, 16, 1), latent_dim=8, num_classes=10)
        images = vae.generate(4, labels=7, seed=0)  # [4, 16, 16, 1] in [0, 1]
    """

    reports = (
        Reported("loss", on_bar=True),
        Reported("reconstruction_loss"),
        Reported("kl_loss"),
        Reported("elbo", "higher", validation_only=True, on_bar=True),
        Reported("active_units", "higher", validation_only=True),
    )
    evaluation = "generation"
    preview_file = "reconstructions.png"

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        *,
        filters: Sequence[int] = (32, 64),
        hidden_units: int = 128,
        beta: float = 1.0,
        likelihood: str = "bernoulli",
        sigma: float | str = 1.0,
        kl_warmup_steps: int = 0,
        free_bits: float = 0.0,
        num_classes: int | None = None,
        num_attributes: int | None = None,
        seed: int = 0,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        height, width, channels = values.shape("image_shape", image_shape, "height, width, channels")
        self.image_shape, self.latent_dim = (height, width, channels), values.whole("latent_dim", latent_dim)
        self.filters = values.widths("filters", filters)
        self.hidden_units = values.whole("hidden_units", hidden_units)
        self.beta, self.likelihood, self.sigma = beta, likelihood, sigma
        self.kl_warmup_steps, self.free_bits = kl_warmup_steps, free_bits
        self.num_classes, self.num_attributes, self.seed = num_classes, num_attributes, seed
        self._check_arguments()

        self.encoder = encoder or conv_encoder(
            self.image_shape, self.latent_dim, self.filters, self.hidden_units, self.label_size
        )
        self.decoder = decoder or conv_decoder(
            self.latent_dim, self.image_shape, self.filters[::-1], self.hidden_units, self.label_size
        )
        self._check_networks()
        self.sampling = Sampling(ReplicaSeedGenerator(seed))
        self._decode_for_loss = self.decoder if likelihood == "gaussian" else _logits_network(self.decoder)
        self._trackers["active_units"] = ActiveUnits(self.latent_dim)
        if likelihood == "gaussian":
            self.log_sigma = self.add_weight(
                name="log_sigma",
                shape=(),
                initializer="zeros" if isinstance(sigma, str) else keras.initializers.Constant(np.log(sigma)),
                trainable=sigma == "learned",
                dtype="float32",
                aggregation="only_first_replica" if sigma == "optimal" else "mean",
            )
        self.built = True

    def _check_networks(self) -> None:
        """Raise `UserError` unless the networks give what the model takes, as far as they say it."""
        if functional_nodes(self.encoder):
            made = self.encoder.output
            if not isinstance(made, dict) or not {"z_mean", "z_log_var"} <= made.keys():
                raise UserError('The encoder must give a dict of "z_mean" and "z_log_var", as `conv_encoder` does.')
            check_made("encoder", made["z_mean"].shape, (self.latent_dim,))
        if functional_nodes(self.decoder):
            check_made("decoder", keras.tree.flatten(self.decoder.output)[0].shape, self.image_shape)

    def _check_arguments(self) -> None:
        self._check_choice("likelihood", ("bernoulli", "gaussian"))
        self._check_not_negative("beta", "free_bits", "kl_warmup_steps")
        self._check_labels()
        if isinstance(self.sigma, str):
            if self.sigma not in ("learned", "optimal"):
                raise UserError(f"sigma is {self.sigma!r}: give a positive number, 'learned' or 'optimal'.")
        else:
            values.number("sigma", self.sigma, above=0)
        values.seed("seed", self.seed)

    # -- losses ---------------------------------------------------------------------------------------------

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        inputs, share = self._unpack(data)
        with tf.GradientTape() as tape:
            posterior = self.encoder(inputs, training=True)
            z = self.sampling([posterior["z_mean"], posterior["z_log_var"]])
            reconstruction = self._reconstruction_loss(inputs, z, share)
            kl = losses.gaussian_kl(posterior["z_mean"], posterior["z_log_var"])
            loss = reconstruction + self._warm_beta() * tf.reduce_sum(self._free(kl, share), axis=-1)
            layer_losses = self.layer_losses(self.trainable_variables)
        self.update(tape, loss, share, self.trainable_variables, self.optimizer, layer_losses)
        self.track(
            {
                "loss": loss + layer_losses,
                "reconstruction_loss": reconstruction,
                "kl_loss": tf.reduce_sum(kl, axis=-1),
            },
            share,
        )
        return self.results("loss", "reconstruction_loss", "kl_loss")

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        inputs, share = self._unpack(data)
        posterior = self.encoder(inputs, training=False)
        active_units = self._trackers["active_units"]
        noise = self._fixed_noise(share.first_place(active_units.count), tf.shape(posterior["z_mean"])[0])
        z = reparameterize(posterior["z_mean"], posterior["z_log_var"], noise)
        reconstruction = self._reconstruction_loss(inputs, z)
        kl = tf.reduce_sum(losses.gaussian_kl(posterior["z_mean"], posterior["z_log_var"]), axis=-1)
        active_units.update_state(share.own(posterior["z_mean"]))
        self.track(
            {
                "loss": reconstruction + self.beta * kl + self.layer_losses(self.trainable_variables),
                "reconstruction_loss": reconstruction,
                "kl_loss": kl,
                "elbo": -(reconstruction + kl),
            },
            share,
        )
        return self.results("loss", "reconstruction_loss", "kl_loss", "elbo", "active_units")

    def _reconstruction_loss(self, inputs: dict[str, Tensor], z: Tensor, share: Share | None = None) -> Tensor:
        """Return the loss [batch]; in training, `share` is needed for sigma's optimum."""
        decoded = self._decode_for_loss(self._decoder_inputs(z, inputs), training=share is not None)
        if self.likelihood == "bernoulli":
            return losses.bernoulli_nll(inputs["image"], decoded)
        if self.sigma == "optimal" and share is not None:
            log_sigma = self._optimal_log_sigma(share.mean(losses.squared_error(inputs["image"], decoded)))
            return losses.gaussian_nll(inputs["image"], decoded, log_sigma)
        return losses.gaussian_nll(inputs["image"], decoded, self.log_sigma)

    def _optimal_log_sigma(self, error: Tensor) -> Tensor:
        # At the optimum the likelihood's derivative with respect to sigma is 0: none has to flow through it.
        log_sigma = 0.5 * tf.math.log(error + 1e-8)
        step = tf.cast(self.optimizer.iterations, tf.float32)
        momentum = tf.minimum(0.99, step / (step + 10.0))
        self.log_sigma.assign(momentum * self.log_sigma + (1 - momentum) * log_sigma)
        return log_sigma

    def _warm_beta(self) -> Tensor:
        if not self.kl_warmup_steps:
            return self.beta
        step = tf.cast(self.optimizer.iterations, tf.float32)
        return self.beta * tf.minimum(1.0, step / self.kl_warmup_steps)

    def _free(self, kl: Tensor, share: Share) -> Tensor:
        """KL [batch, latent_dim] with max(batch mean, free_bits) as its mean, over the batch of all replicas."""
        if not self.free_bits:
            return kl
        return tf.where(share.mean(kl) > self.free_bits, kl, self.free_bits)

    def _fixed_noise(self, start: Tensor, count: Tensor) -> Tensor:
        """Noise [count, latent_dim] that depends on an example's place in the evaluation, not on its batch."""
        return tf.map_fn(
            lambda place: tf.random.stateless_normal([self.latent_dim], seed=[_EVALUATION_SEED, place]),
            start + tf.range(count),
            fn_output_signature=tf.TensorSpec([self.latent_dim], tf.float32),
        )

    # -- use ------------------------------------------------------------------------------------------------

    def _decoder_inputs(self, z: Tensor, encoder_inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"z": z, **({"label": encoder_inputs["label"]} if self.conditional else {})}

    def call(self, inputs: Batch, training: bool = False) -> Tensor:
        """Reconstruct through the mean of the posterior; `predict` therefore gives reconstructions."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(inputs)
        inputs = self._inputs_of(x, y)
        posterior = self.encoder(inputs, training=training)
        return self.decoder(self._decoder_inputs(posterior["z_mean"], inputs), training=training)

    def encode(self, images: Tensor, labels: Tensor = None) -> Posterior:
        """Return the posterior of images [n, height, width, channels] in [0, 1]; labels for a conditional model."""
        out = in_batches(traced(self.encoder), self._inputs(images, labels))
        return Posterior(out["z_mean"], out["z_log_var"])

    def pictures_of(self, inputs: dict[str, Tensor]) -> Tensor:
        return traced(self.decoder)(inputs)

    def reconstruct(self, images: Tensor, labels: Tensor = None) -> np.ndarray:
        """Images through the encoder, the posterior's mean and the decoder, [n, height, width, channels]."""
        return self.decode(self.encode(images, labels).mean, labels)

    def log_weights(self, images: Tensor, labels: Tensor = None, samples: int = 50, seed: int = 0) -> np.ndarray:
        """log p(x, z) − log q(z|x) for samples of z from the posterior of each image, in nats.

        Their mean estimates the ELBO, `metrics.iwae_bound` the tighter bound of Burda et al. (2016, 1509.00519).

        Args:
            images: [n, height, width, channels] in [0, 1].
            labels: of a conditional model.
            samples: K, how many z for each image.
            seed: of the samples.

        Returns:
            float64 [n, samples].
        """
        if samples < 1:
            raise UserError(f"{samples} samples were asked for: ask for at least 1.")
        inputs = self._inputs(images, labels)
        rng = np.random.default_rng(seed)
        return np.concatenate(
            [
                self._log_weights({name: value[i : i + BATCH] for name, value in inputs.items()}, samples, rng)
                for i in range(0, len(inputs["image"]), BATCH)
            ]
        )

    def _log_weights(self, inputs: dict[str, Tensor], samples: int, rng: np.random.Generator) -> np.ndarray:
        posterior = self.encoder(inputs, training=False)
        found = []
        for _ in range(samples):
            noise = rng.standard_normal(posterior["z_mean"].shape, dtype=np.float32)
            z = reparameterize(posterior["z_mean"], posterior["z_log_var"], noise)
            log_var = np.clip(posterior["z_log_var"], *losses.LOG_VAR_RANGE).astype(np.float64)
            # The normalizing constants of prior and posterior cancel.
            prior_over_posterior = 0.5 * np.sum(noise.astype(np.float64) ** 2 + log_var - np.asarray(z) ** 2, axis=1)
            found.append(prior_over_posterior - np.asarray(self._reconstruction_loss(inputs, z)))
        return np.stack(found, axis=1)

    def compile_for_recipe(
        self,
        steps_per_epoch: int,
        epochs: int | Sequence[Stage],
        learning_rate: float = 1e-3,
        steps_per_execution: int = 1,
    ) -> None:
        """Adam, its learning rate following half a cosine to 0 over the whole training.

        Steps of small networks take less time when several are one call; `kerasgen train` lowers their number to one
        that its epochs and checkpoints are multiples of.
        """
        super().compile_for_recipe(steps_per_epoch, epochs, learning_rate)
        self.steps_per_execution = values.whole("steps_per_execution", steps_per_execution)

    def preview(self, n: int = 64, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        if inputs is None:
            return {"generated": self.generate(n, seed=seed)}
        images, labels = self._preview_inputs(inputs, n)
        pictures = {"original": images.numpy(), "reconstruction": self.reconstruct(images, labels)}
        if self.num_attributes:  # as real pictures combine them
            pictures["generated"] = self.generate(len(images), labels, seed)
        return pictures

    @property
    def signs(self) -> tuple[Sign, ...]:
        return (Comparable("reconstruction_loss"), Latent("kl_loss"))

    def answers(self, batch: Batch) -> Answers:
        inputs, _ = self._unpack(batch)
        shown = self.preview(n=len(inputs["image"]), inputs=batch)
        gain = None
        if self.conditional:
            # The next class is always a wrong one; attributes are wrong together, as those of another picture.
            wrong = tf.roll(inputs["label"], 1, axis=1 if self.num_classes else 0)
            gain = (self._bound_at_mean(inputs) - self._bound_at_mean({**inputs, "label": wrong})).numpy()
        made, real = shown["reconstruction"], shown["original"]
        return Answers(shown, made, real, right=real, given=real, alike=True, label_gain=gain)

    def _bound_at_mean(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return log p(x|z) at the posterior's mean z, less the KL divergence, in nats: [batch]."""
        posterior = self.encoder(inputs, training=False)
        kl = tf.reduce_sum(losses.gaussian_kl(posterior["z_mean"], posterior["z_log_var"]), axis=-1)
        return -self._reconstruction_loss(inputs, posterior["z_mean"]) - kl

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the decoder (z to image) and the encoder (image to mean and log-variance); no sampling in either.

        The decoder serves two more: "encode" gives the posterior of an image, "reconstruct" the image at its mean.
        """
        inputs = self.encoder.input
        mean = {"z": self.encoder.output["z_mean"]}
        labels = {"label": inputs["label"]} if self.conditional else {}
        image = self.decoder(mean | labels)
        reconstructor = keras.Model(inputs, {"image": image}, name="reconstructor")
        also = {"encode": self.encoder, "reconstruct": reconstructor}
        says: Labels = "attributes" if self.num_attributes else "classes"
        return {"decoder": ExportedNetwork(self.decoder, also, labels=says), "encoder": ExportedNetwork(self.encoder)}

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return images for the encoder, their posteriors' means for the decoder; classes in turn if unlabeled."""
        images = np.asarray(batch["image"])
        labels = self._labels_like(batch)
        inputs = {name: np.asarray(value) for name, value in self._inputs(images, labels).items()}
        mean = {"z": self.encode(images, labels).mean}
        decoded = mean | ({"label": inputs["label"]} if self.conditional else {})
        return {"decoder": decoded, "encoder": inputs, "encode": inputs, "reconstruct": inputs}


def _logits_network(decoder: keras.Model) -> Callable:
    """Return the decoder without its last sigmoid, sharing its layers, as a function that Keras doesn't track."""
    last = decoder.layers[-1]
    if not (isinstance(last, keras.layers.Activation) and last.activation is keras.activations.sigmoid):
        raise UserError(
            f"A Bernoulli likelihood needs a decoder that ends with keras.layers.Activation('sigmoid'), but it ends "
            f"with {last.name!r} ({type(last).__name__}): add that layer, or use likelihood='gaussian'."
        )
    network = keras.Model(decoder.input, last.input, name="decoder_logits")
    return lambda inputs, training: network(inputs, training=training)


MODEL = VAE
PRESETS = {
    "vae_digits": Preset(
        description="conditional VAE of scikit-learn's handwritten digits, 16×16 gray; about 20 s on two cores",
        config={
            "image_shape": (16, 16, 1),
            "latent_dim": 12,
            "filters": (24, 48),
            "hidden_units": 128,
            "beta": 0.6,
            "kl_warmup_steps": 120,
            "num_classes": 10,
        },
        data={"source": "digits", "image_size": 16, "channels": 1, "batch_size": 64},
        recipe={"epochs": 50, "learning_rate": 2e-3, "steps_per_execution": 32},
        macs=654_080,
    ),
    "vae_64": Preset(
        description="VAE of RGB pictures at 64×64 from a folder of yours, with the optimal-sigma likelihood",
        config={
            "image_shape": (64, 64, 3),
            "latent_dim": 64,
            "filters": (32, 64, 128, 256),
            "hidden_units": 256,
            "likelihood": "gaussian",
            "sigma": "optimal",
        },
        data={"image_size": 64, "channels": 3, "batch_size": 32},
        recipe={"epochs": 50, "learning_rate": 1e-3},
        macs=28_196_864,
    ),
    "label_to_image": Preset(
        description="faces from attributes: conditional VAE of CelebA's 40, 64×64; needs --data tfds:celeb_a",
        config={
            "image_shape": (64, 64, 3),
            "latent_dim": 64,
            "filters": (32, 64, 128, 256),
            "hidden_units": 256,
            "likelihood": "gaussian",
            "sigma": "optimal",
            "num_attributes": 40,
        },
        data={"image_size": 64, "channels": 3, "batch_size": 32},
        recipe={"epochs": 20, "learning_rate": 1e-3},
        macs=28_207_104,
    ),
}
