"""The autoencoder of latent diffusion: its latents are maps, on which a prior of pictures is learned."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses, values
from kerasgen.errors import UserError
from kerasgen.layers import Sampling
from kerasgen.models.base import ReplicaSeedGenerator
from kerasgen.models.batches import Share, summed_over_replicas
from kerasgen.models.checks import check_judged, check_options
from kerasgen.models.declarations import ExportedNetwork, Reported
from kerasgen.models.discriminated import Discriminated
from kerasgen.models.gradients import inner
from kerasgen.models.map_latents import RECONSTRUCTIONS, MapAutoencoder, check_way, through
from kerasgen.models.translation import traced
from kerasgen.networks.autoencoder import residual_decoder, residual_encoder, tiny_decoder, tiny_encoder
from kerasgen.networks.patchgan import patchgan
from kerasgen.presets import Preset
from kerasgen.training.health import Comparable, Discriminator, Latent, Sign
from kerasgen.training.schedules import Stage, staged, warmed_up_cosine
from kerasgen.typing import Batch, Config, Tensor

_ARCHITECTURES = {"residual": (residual_encoder, residual_decoder), "tiny": (tiny_encoder, tiny_decoder)}
_LEAST_VARIANCE = 1e-12  # of latents that say nothing
_LARGEST_WEIGHT = 1e4  # of the adversarial loss, as in the paper's code


class MapPosterior(NamedTuple):
    """q(z|x) of some images: diagonal Gaussians over maps, in units in which latents have variance 1.

    Attributes:
        mean: [n, h, w, latent_channels].
        log_var: [n, h, w, latent_channels], logarithms of the variances.
        scale: by which the encoder's own latents were multiplied.
    """

    mean: np.ndarray
    log_var: np.ndarray
    scale: float = 1.0

    def mode(self) -> np.ndarray:
        """Return the most probable z of each image: [n, h, w, latent_channels]."""
        return self.mean

    def sample(self, seed: int | None = None) -> np.ndarray:
        """One z for each image: [n, h, w, latent_channels]."""
        noise = np.random.default_rng(seed).standard_normal(self.mean.shape, dtype=np.float32)
        return self.mean + np.exp(0.5 * self.log_var) * noise

    def kl(self) -> np.ndarray:
        """KL(q(z|x) ‖ N(0, 1)) of the encoder's own latents, before they are scaled, as a training weighs it.

        Returns:
            Of each image and latent, in nats: [n, h, w, latent_channels].
        """
        own = (self.mean / self.scale, self.log_var - 2 * np.log(self.scale))
        return keras.ops.convert_to_numpy(losses.gaussian_kl(*own))


@keras.saving.register_keras_serializable(package="kerasgen")
class AutoencoderKL(MapAutoencoder, Discriminated):
    """Autoencoder with a KL term whose latents are maps (Rombach et al. 2022, 2112.10752).

    Trains on dicts {"image": [batch, height, width, channels] in [0, 1] (, "sample_weight")}, or on image arrays.
    `reconstruction_loss` is a mean over an example's pixels and channels, `kl_loss` a sum over its latents, in nats,
    and `loss` the first plus `kl_weight` times the second, plus what a discriminator says. Validation goes through
    the posterior's mean, without a discriminator, and reports PSNR in dB and SSIM too.

    A training measures the mean and the variance of the latents that it draws. `encode` gives latents divided by
    their standard deviation, of which `latent_scale` is the inverse, and `decode` takes such: a prior learns numbers
    of variance 1. So do the exported networks.

    The model makes no pictures from noise: that is what `RectifiedFlow` learns in its latents, by `first_stage`.

    Args:
        channels: of the pictures, 1 to 64.
        latent_channels: of the maps.
        architecture: "residual", latent diffusion's, or "tiny", TAESD's, whose posterior is a point.
        architecture_options: further arguments of `kerasgen.networks.residual_encoder` and its decoder, or of
            `tiny_encoder` and its decoder.
        reconstruction: "l1", the mean absolute error, or "l2", the mean squared one.
        kl_weight: of the sum over an example's latents, beside a mean over its pixels.
        adversarial_weight: of a discriminator's judgment, when its gradient at the decoder's last convolution is made
            as large as the reconstruction's (Esser et al. 2021, 2012.09841); 0 trains no discriminator.
        adversarial_start: optimizer steps before the discriminator begins to learn and to count.
        adversarial_loss: "lsgan" or "vanilla".
        discriminator_options: arguments of `patchgan`.
        seed: of the training's draws.
        encoder: your own network instead, from images to {"z_mean", "z_log_var"}.
        decoder: your own network instead, from latents to images.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        model = AutoencoderKL(1, architecture_options={"filters": (8, 8), "patch": 1})
        latents = model.encode(np.zeros((1, 16, 24, 1))).sample(seed=0)  # [1, 8, 12, 4]
    """

    reports = (
        Reported("loss", on_bar=True),
        Reported("reconstruction_loss"),
        Reported("kl_loss"),
        Reported("adversarial_loss"),
        Reported("discriminator_loss"),
        Reported("psnr", "higher", validation_only=True, on_bar=True),
        Reported("ssim", "higher", validation_only=True),
    )

    def __init__(
        self,
        channels: int = 3,
        *,
        latent_channels: int = 4,
        architecture: str = "residual",
        architecture_options: dict[str, Config] | None = None,
        reconstruction: str = "l1",
        kl_weight: float = 1e-6,
        adversarial_weight: float = 0.0,
        adversarial_start: int = 0,
        adversarial_loss: str = "lsgan",
        discriminator_options: dict[str, Config] | None = None,
        seed: int = 0,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        self.architecture, self.reconstruction, self.kl_weight = architecture, reconstruction, kl_weight
        self.adversarial_weight, self.adversarial_start = adversarial_weight, adversarial_start
        self.adversarial_loss = adversarial_loss
        options, judging = dict(architecture_options or {}), dict(discriminator_options or {})
        self._check_arguments(options, judging)
        make_encoder, make_decoder = _ARCHITECTURES[architecture]
        self.encoder = encoder or make_encoder(channels, latent_channels, **options)
        self.decoder = decoder or make_decoder(channels, latent_channels, **options)
        check_way(self.encoder.output["z_mean"], self.encoder, self.decoder)
        self.latent_channels = self.decoder.input_shape[-1]
        self.discriminator = patchgan(self.encoder.input_shape[-1], **judging) if adversarial_weight else None
        self.sampling = Sampling(ReplicaSeedGenerator(seed))
        # The mean of the latents, and that of their squares: of N(0, 1) before anything is measured.
        self.latent_moments = self.add_weight(
            name="latent_moments",
            shape=(2,),
            initializer=lambda shape, dtype: tf.constant([0.0, 1.0], dtype),
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
        )
        self.built = True

    def _check_arguments(self, options: dict[str, Config], judging: dict[str, Config]) -> None:
        self._check_choice("architecture", _ARCHITECTURES)
        self._check_choice("reconstruction", RECONSTRUCTIONS)
        self._check_choice("adversarial_loss", ("lsgan", "vanilla"))
        self._check_not_negative("kl_weight", "adversarial_weight")
        values.whole("adversarial_start", self.adversarial_start, least=0)
        values.seed("seed", self._arguments["seed"])
        check_options(options, _ARCHITECTURES[self.architecture][1], "architecture_options")
        check_options(judging, patchgan, "discriminator_options")

    # -- training -------------------------------------------------------------------------------------------

    @property
    def learned_variables(self) -> list[keras.Variable]:
        return [*self.trainable_weights, self.latent_moments]

    @property
    def generator_variables(self) -> list[keras.Variable]:
        return [*self.encoder.trainable_variables, *self.decoder.trainable_variables]

    def new_optimizer(self) -> keras.optimizers.Optimizer:
        """Return Adam with the learning rate 1e-3."""
        return keras.optimizers.Adam(1e-3)

    def new_discriminator_optimizer(self) -> keras.optimizers.Optimizer:
        """Return Adam with the learning rate 2e-4 and beta_1 0.5."""
        return keras.optimizers.Adam(2e-4, beta_1=0.5)

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        images, share = self._unpack(data)
        variables = self.generator_variables
        with tf.GradientTape(persistent=self.discriminator is not None) as tape:
            posterior = self.encoder(images, training=True)
            z = self.sampling([posterior["z_mean"], posterior["z_log_var"]])
            made = self.decoder(z, training=True)
            found = self._losses_of(images, made, posterior)
            penalty = self.layer_losses(variables)
        self._measure(z, share)
        if self.discriminator is not None:
            found |= self._judged(tape, images, made, found["reconstruction_loss"], share)
            with tape:
                found["loss"] += found.pop("weight") * found["adversarial_loss"]
        self.update(tape, found["loss"], share, variables, self.optimizer, penalty)
        found["loss"] += penalty
        self.track(found, share)
        return self.results(*found)

    def _losses_of(self, images: Tensor, made: Tensor, posterior: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return losses [batch] by name, of which "loss" is the weighted sum."""
        reconstruction = RECONSTRUCTIONS[self.reconstruction](images, made)
        kl = tf.reduce_sum(losses.gaussian_kl(posterior["z_mean"], posterior["z_log_var"]), axis=[1, 2, 3])
        return {"loss": reconstruction + self.kl_weight * kl, "reconstruction_loss": reconstruction, "kl_loss": kl}

    def _measure(self, z: Tensor, share: Share) -> None:
        """Move the latents' moments towards those of this batch, over all replicas."""
        own = tf.stack([tf.reduce_mean(z, [1, 2, 3]), tf.reduce_mean(tf.square(z), [1, 2, 3])], axis=1)
        step = tf.cast(inner(self.optimizer).iterations, tf.float32)
        kept = tf.minimum(0.99, step / (step + 10.0))
        self.latent_moments.assign(kept * self.latent_moments + (1 - kept) * share.mean(own))

    def _judged(
        self, tape: tf.GradientTape, images: Tensor, made: Tensor, reconstruction: Tensor, share: Share
    ) -> dict[str, Tensor]:
        """Let the discriminator learn, and judge what was made.

        Returns:
            "discriminator_loss" [batch], from before its update; "adversarial_loss" [batch], and its scalar "weight".
        """
        assert self.discriminator is not None  # who trains none doesn't ask for its judgment
        check_judged(self.discriminator, made.shape[1:3])
        begun = tf.cast(inner(self.optimizer).iterations >= self.adversarial_start, tf.float32)
        variables = self.discriminator.trainable_variables
        with tf.GradientTape() as learning:
            real = self.discriminator(2.0 * images - 1.0, training=True)
            fake = self.discriminator(2.0 * tf.stop_gradient(made) - 1.0, training=True)
            loss = losses.adversarial_discriminator_loss(real, fake, self.adversarial_loss)
            penalty = self.layer_losses(variables)
            counted = begun * loss
        self.update(learning, counted, share, variables, self.discriminator_optimizer, begun * penalty)
        with tape:  # again: the discriminator that judges the picture has learned from it
            logits = self.discriminator(2.0 * made - 1.0, training=True)
            adversarial = losses.adversarial_generator_loss(logits, self.adversarial_loss)
            means = [share.objective(reconstruction), share.objective(adversarial)]
        weight = begun * self.adversarial_weight * self._ratio(tape, *means)
        return {"discriminator_loss": loss + penalty, "adversarial_loss": adversarial, "weight": weight}

    def _ratio(self, tape: tf.GradientTape, reconstruction: Tensor, adversarial: Tensor) -> Tensor:
        """Return how much larger the reconstruction's gradient is than the adversarial one, at the last kernel."""
        kernel = next((v for v in reversed(self.decoder.trainable_variables) if len(v.shape) == 4), None)
        if kernel is None:
            raise UserError(
                "The adversarial loss is weighed by gradients at the decoder's last convolution, but none of its "
                "convolutions is trained: let the decoder be trainable, or give adversarial_weight=0."
            )
        gradients = summed_over_replicas([tape.gradient(mean, kernel) for mean in (reconstruction, adversarial)])
        ratio = tf.norm(gradients[0]) / (tf.norm(gradients[1]) + 1e-4)
        return tf.clip_by_value(ratio, 0.0, _LARGEST_WEIGHT)

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        images, share = self._unpack(data)
        posterior = self.encoder(images, training=False)
        made = self.decoder(posterior["z_mean"], training=False)
        found = self._losses_of(images, made, posterior) | self.fidelity(images, made)
        found["loss"] += self.layer_losses(self.generator_variables)
        self.track(found, share)
        return self.results(*found)

    # -- use ------------------------------------------------------------------------------------------------

    @property
    def latent_scale(self) -> float:
        """What the encoder's own latents are multiplied by so that they have variance 1: 1 / their deviation."""
        mean, square = np.asarray(self.latent_moments, np.float64)
        return float(1 / np.sqrt(max(square - mean**2, _LEAST_VARIANCE)))

    def decodable(self, encoded: dict[str, Tensor]) -> Tensor:
        return encoded["z_mean"]

    def encode(self, images: Tensor, memory: int | None = None) -> MapPosterior:
        """Return the posterior of images [n, height, width, channels] in [0, 1], of sides that divide.

        Args:
            images: the images.
            memory: bytes that may be taken; None is half of what is free. An image for which they don't suffice goes
                strip by strip: the same numbers.

        Raises:
            UserError: the images don't fit.
        """
        log_var, mean = through(self.encoder, self._images(images).numpy(), memory)  # Keras sorts by name
        scale = self.latent_scale
        # What the network says is clipped as in its loss.
        log_var = np.clip(log_var, *losses.LOG_VAR_RANGE) + 2 * np.log(scale)
        return MapPosterior(mean * np.float32(scale), log_var.astype(np.float32), scale)

    def decode(self, z: Tensor, memory: int | None = None) -> np.ndarray:
        """Images [n, height, width, channels] in [0, 1] from latents [n, h, w, latent_channels] of variance 1.

        Args:
            z: the latents.
            memory: bytes that may be taken, as for `encode`.

        Raises:
            UserError: the latents have another shape.
        """
        z = np.asarray(z, np.float32)
        if z.ndim != 4 or z.shape[-1] != self.latent_channels:
            raise UserError(f"z has the shape {z.shape}, but [n, h, w, {self.latent_channels}] is needed.")
        (made,) = through(self.decoder, z / np.float32(self.latent_scale), memory)
        return np.clip(made, 0.0, 1.0)

    def latents_of(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return latents of variance 1 of images that fit, as a tensor, in a graph too.

        Args:
            images: [batch, height, width, channels] in [0, 1].
            noise: ~ N(0, 1), [batch, h, w, latent_channels], by which they are drawn; None gives the means.
        """
        found = self.encoder(images, training=False)
        z = tf.cast(found["z_mean"], tf.float32)
        if noise is not None:
            log_var = tf.clip_by_value(tf.cast(found["z_log_var"], tf.float32), *losses.LOG_VAR_RANGE)
            z += tf.exp(0.5 * log_var) * noise
        return z / self._deviation

    def pictures_of_latents(self, z: Tensor) -> Tensor:
        """Return images [batch, height, width, channels] in [0, 1] of latents of variance 1, as a tensor."""
        return tf.clip_by_value(traced(self.decoder)(z * self._deviation), 0.0, 1.0)

    @property
    def _deviation(self) -> Tensor:
        """The inverse of `latent_scale`, as a tensor."""
        mean, square = tf.unstack(tf.convert_to_tensor(self.latent_moments))
        return tf.sqrt(tf.maximum(square - mean**2, _LEAST_VARIANCE))

    def measures(self, images: Tensor) -> dict[str, np.ndarray]:
        return {"kl": self.encode(images).kl().sum(axis=(1, 2, 3))}

    # -- declarations ---------------------------------------------------------------------------------------

    @property
    def signs(self) -> tuple[Sign, ...]:
        signs = (Comparable("reconstruction_loss"), Latent("kl_loss"))
        if self.discriminator is None:
            return signs
        return (*signs, Discriminator("discriminator_loss", losses.CHANCE[self.adversarial_loss], alone=False))

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the decoder (z to image) and the encoder (image to mean and log-variance), for z of variance 1.

        The decoder serves two more: "encode" gives the posterior of an image, "reconstruct" the image at its mean.
        """
        image, scale = self.encoder.input, self.latent_scale
        own = self.encoder(image)
        scaled = {
            "z_mean": _affine("z_mean", own["z_mean"], scale),
            "z_log_var": _affine("z_log_var", own["z_log_var"], 1.0, 2 * float(np.log(scale))),
        }
        encoder = keras.Model(image, scaled, name="encoder")
        z = keras.Input(self.decoder.input_shape[1:], name="z")
        decoder = keras.Model(z, self._shown(self.decoder(_affine("own", z, 1 / scale))), name="decoder")
        reconstructor = keras.Model(image, self._shown(self.decoder(own["z_mean"])), name="reconstructor")
        also = {"encode": encoder, "reconstruct": reconstructor}
        maps = ("z", "z_mean", "z_log_var")
        return {
            "decoder": ExportedNetwork(decoder, also, not_pictures=maps),
            "encoder": ExportedNetwork(encoder, not_pictures=maps),
        }

    @staticmethod
    def _shown(images: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        return {"image": keras.layers.ReLU(1.0, dtype="float32", name="shown")(images)}

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return images for the encoder, and their posteriors' means for the decoder."""
        images = np.asarray(batch["image"], np.float32)
        z = self.encode(images).mean
        return {"decoder": z, "encoder": images, "encode": images, "reconstruct": images}

    # -- recipe -------------------------------------------------------------------------------------------

    def compile_for_recipe(
        self,
        steps_per_epoch: int,
        epochs: int | Sequence[Stage],
        learning_rate: float = 1e-3,
        warmup_steps: int = 100,
    ) -> None:
        """Adam with gradients clipped to norm 1, and for the discriminator Adam with beta_1 0.5.

        The learning rate of both is warmed up, and then half a cosine to 0.
        """
        schedule = staged(partial(warmed_up_cosine, learning_rate, warmup_steps), steps_per_epoch, epochs)
        judging = keras.optimizers.Adam(schedule, beta_1=0.5)
        self.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), judging)


def _affine(name: str, x: keras.KerasTensor, scale: float, offset: float = 0.0) -> keras.KerasTensor:
    return keras.layers.Rescaling(scale, offset, dtype="float32", name=name)(x)


MODEL = AutoencoderKL
_EMOJI = {"source": "openmoji", "image_size": 64, "channels": 3, "batch_size": 8}
_RESIDUAL = {"channels": 3, "architecture_options": {"filters": (32, 64, 96), "patch": 2}}
PRESETS = {
    "kl_emoji_64": Preset(
        description="autoencoder of OpenMoji's drawings, 64 pixels to latents of 8×8×4; about 45 minutes",
        config=_RESIDUAL,
        data=_EMOJI,
        recipe={"epochs": 36, "learning_rate": 2e-3},
        macs=131_555_328,
    ),
    "kl_emoji_64_augmented": Preset(
        description="kl_emoji_64, better at drawings of one's own: it learned flipped and shifted ones; an hour",
        config=_RESIDUAL,
        data={**_EMOJI, "augmentation": "flips_and_shifts"},
        recipe={"epochs": 40, "learning_rate": 2e-3},
        macs=131_555_328,
    ),
    "kl_tiny": Preset(
        description="kl_emoji_64_augmented with a sixth of the weights; about 20 minutes",
        config={"channels": 3, "architecture_options": {"filters": (16, 24, 40), "patch": 2}},
        data={**_EMOJI, "augmentation": "flips_and_shifts"},
        recipe={"epochs": 40, "learning_rate": 2e-3},
        macs=25_061_376,
    ),
}
