"""The autoencoder whose latents are codes: each place of a map is one of a few learned vectors."""

from collections.abc import Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from kerasgen import losses, values
from kerasgen.errors import UserError
from kerasgen.metrics.latent import Perplexity
from kerasgen.models.batches import Share, summed_over_replicas
from kerasgen.models.checks import check_options
from kerasgen.models.declarations import ExportedNetwork, Reported
from kerasgen.models.gradients import inner
from kerasgen.models.map_latents import RECONSTRUCTIONS, MapAutoencoder, by_rows, check_way, in_parts, through
from kerasgen.models.translation import traced
from kerasgen.networks.autoencoder import residual_decoder, residual_encoder
from kerasgen.networks.quantizer import LEARNERS, VectorQuantizer
from kerasgen.presets import Preset
from kerasgen.training.health import Comparable, Sign
from kerasgen.training.schedules import Stage, staged, warmed_up_cosine
from kerasgen.typing import Batch, Config, Tensor


@keras.saving.register_keras_serializable(package="kerasgen")
class VQVAE(MapAutoencoder):
    """Autoencoder with a codebook (van den Oord et al. 2017, 1711.00937), whose latents are maps of whole numbers.

    Trains on dicts {"image": [batch, height, width, channels] in [0, 1] (, "sample_weight")}, or on image arrays.
    All losses are means over an example's numbers: `reconstruction_loss` over pixels and channels,
    `commitment_loss`, of latents to their codes, and `codebook_loss`, of codes to their latents (where they learn by
    gradients), over places and dimensions. `loss` is their sum, the commitment's times its weight. `perplexity` says
    how many codes an epoch uses; validation reports PSNR in dB and SSIM too.

    The model makes no pictures from noise: that is what `CodePrior` learns of its codes.

    Args:
        channels: of the pictures, 1 to 64.
        codes: of the codebook.
        code_dim: the length of each.
        architecture_options: further arguments of `kerasgen.networks.residual_encoder` and its decoder.
        reconstruction: "l1", the mean absolute error, or "l2", the mean squared one.
        commitment: weight of the encoder's way to its codes.
        learner: of the codebook, "ema" or "gradient"; see `kerasgen.networks.VectorQuantizer`.
        decay: what the codebook's averages keep in a step.
        restart_below: share of the average use, below which a code begins anew at a latent of the batch.
        seed: by which those latents are drawn.
        encoder: your own network instead, from images to latents.
        decoder: your own network instead, from latents to images.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        model = VQVAE(1, codes=16, code_dim=4, architecture_options={"filters": (8, 8), "patch": 1})
        codes = model.encode(np.zeros((1, 16, 24, 1)))  # [1, 8, 12] whole numbers below 16
    """

    reports = (
        Reported("loss", on_bar=True),
        Reported("reconstruction_loss"),
        Reported("commitment_loss"),
        Reported("codebook_loss"),
        Reported("perplexity", None, on_bar=True),
        Reported("psnr", "higher", validation_only=True, on_bar=True),
        Reported("ssim", "higher", validation_only=True),
    )

    def __init__(
        self,
        channels: int = 3,
        *,
        codes: int = 512,
        code_dim: int = 32,
        architecture_options: dict[str, Config] | None = None,
        reconstruction: str = "l1",
        commitment: float = 0.25,
        learner: str = "ema",
        decay: float = 0.99,
        restart_below: float = 0.03,
        seed: int = 0,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        self.codes, self.reconstruction, self.commitment, self.seed = codes, reconstruction, commitment, seed
        options = dict(architecture_options or {})
        self._check_choice("reconstruction", RECONSTRUCTIONS)
        self._check_choice("learner", LEARNERS)
        self._check_not_negative("commitment")
        values.whole("codes", codes, least=2)
        values.seed("seed", seed)
        check_options(options, residual_decoder, "architecture_options")
        self.encoder = encoder or residual_encoder(channels, code_dim, **options, variational=False)
        self.decoder = decoder or residual_decoder(channels, code_dim, **options)
        check_way(self.encoder.output, self.encoder, self.decoder)
        self.quantizer = VectorQuantizer(codes, learner, decay, restart_below, name="quantizer")
        self.quantizer.build(self.encoder.output_shape)
        self._trackers["perplexity"] = Perplexity(codes)
        self.built = True

    # -- training -------------------------------------------------------------------------------------------

    @property
    def learned_variables(self) -> list[keras.Variable]:
        beside = [variable for variable in self.quantizer.variables if not variable.trainable]
        return [*self.trainable_weights, *beside]

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        images, share = self._unpack(data)
        with tf.GradientTape() as tape:
            z = self.encoder(images, training=True)
            found = self._losses_of(images, z, training=True)
            penalty = self.layer_losses(self.trainable_variables)
        drawn = self._drawn(z, share)
        own_uses, own_sums = self._statistics(z, share)
        self.update(tape, found["loss"], share, self.trainable_variables, self.optimizer, penalty)
        uses, sums = summed_over_replicas([own_uses, own_sums])
        self.quantizer.follow(uses, sums, drawn)
        self._trackers["perplexity"].update_state(own_uses)
        found["loss"] += penalty
        self.track(found, share)
        return self.results(*found, "perplexity")

    def _losses_of(self, images: Tensor, z: Tensor, training: bool) -> dict[str, Tensor]:
        """Return losses [batch] by name, of which "loss" is the weighted sum."""
        quantizer = self.quantizer
        vectors = quantizer.vectors(quantizer.nearest(z))
        made = self.decoder(quantizer(z), training=training)
        reconstruction = RECONSTRUCTIONS[self.reconstruction](images, made)
        # The commitment's gradient is the encoder's alone, and the codebook's the codes'.
        commitment = losses.squared_error(tf.stop_gradient(vectors), z)
        found = {"reconstruction_loss": reconstruction, "commitment_loss": commitment}
        total = reconstruction + self.commitment * commitment
        if quantizer.learner == "gradient":
            found["codebook_loss"] = losses.squared_error(tf.stop_gradient(z), vectors)
            total += found["codebook_loss"]
        return {"loss": total, **found} if training else {"loss": total, **found, **self.fidelity(images, made)}

    def _statistics(self, z: Tensor, share: Share) -> tuple[Tensor, Tensor]:
        """Return what this replica's own examples say of the codes."""
        return self.quantizer.statistics(share.own(z), None if share.weight is None else share.own(share.weight))

    def _drawn(self, z: Tensor, share: Share) -> Tensor:
        """Return latents of the whole batch, [codes, code_dim], the same on each replica."""
        own = tf.reshape(share.own(tf.cast(z, tf.float32)), (-1, z.shape[-1]))
        context = tf.distribute.get_replica_context()
        every = own if share.examples is None else context.all_gather(own, axis=0)
        # A pure function of the step, which is the same on each replica and after an interruption.
        step = tf.cast(inner(self.optimizer).iterations, tf.int32)
        places = tf.random.stateless_uniform([self.codes], [self.seed % 2**31, step], 0, tf.shape(every)[0], tf.int32)
        return tf.gather(every, places)

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        images, share = self._unpack(data)
        z = self.encoder(images, training=False)
        found = self._losses_of(images, z, training=False)
        found["loss"] += self.layer_losses(self.trainable_variables)
        self._trackers["perplexity"].update_state(self._statistics(z, share)[0])
        self.track(found, share)
        return self.results(*found, "perplexity")

    # -- use ------------------------------------------------------------------------------------------------

    def decodable(self, encoded: Tensor) -> Tensor:
        return self.quantizer(encoded)

    def encode(self, images: Tensor, memory: int | None = None) -> np.ndarray:
        """Return the codes of images [n, height, width, channels] in [0, 1], of sides that divide: int32 [n, h, w].

        Args:
            images: the images.
            memory: bytes that may be taken; None is half of what is free. An image for which they don't suffice goes
                strip by strip: the same numbers.

        Raises:
            UserError: the images don't fit.
        """
        (latents,) = through(self.encoder, self._images(images).numpy(), memory)
        return by_rows(self.quantizer.nearest, latents)

    def codes_of(self, images: Tensor) -> Tensor:
        """Return the codes of images that fit, as a tensor, in a graph too: int32 [batch, h, w]."""
        return self.quantizer.nearest(self.encoder(images, training=False))

    def decode(self, codes: Tensor, memory: int | None = None) -> np.ndarray:
        """Images [n, height, width, channels] in [0, 1] from codes [n, h, w].

        Args:
            codes: the codes.
            memory: bytes that may be taken, as for `encode`.

        Raises:
            UserError: they are not whole numbers of the codebook.
        """
        (vectors,) = in_parts(self.quantizer.vectors, self.checked_codes(codes))
        (made,) = through(self.decoder, vectors, memory)
        return np.clip(made, 0.0, 1.0)

    def pictures_of_codes(self, codes: Tensor) -> Tensor:
        """Return images [batch, height, width, channels] in [0, 1] of codes that fit, as a tensor."""
        return tf.clip_by_value(traced(self.decoder)(self.quantizer.vectors(codes)), 0.0, 1.0)

    def checked_codes(self, codes: Tensor) -> np.ndarray:
        """Return codes as int32 [n, h, w].

        Raises:
            UserError: they are not whole numbers of the codebook.
        """
        codes = np.asarray(codes)
        if codes.ndim != 3 or codes.dtype.kind not in "iu":
            raise UserError(f"The codes are {codes.dtype} of the shape {codes.shape}: give whole numbers [n, h, w].")
        if codes.size and not 0 <= codes.min() <= codes.max() < self.codes:
            raise UserError(
                f"The codes reach from {codes.min()} to {codes.max()}, but the codebook has 0 to {self.codes - 1}."
            )
        return codes.astype("int32")

    def measures(self, images: Tensor) -> dict[str, np.ndarray]:
        """Return how many different codes each picture has."""
        return {"codes_in_a_picture": np.array([len(np.unique(codes)) for codes in self.encode(images)], float)}

    # -- declarations ---------------------------------------------------------------------------------------

    @property
    def signs(self) -> tuple[Sign, ...]:
        return (Comparable("reconstruction_loss"),)

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the decoder (codes to image) and the encoder (image to distances, of which the least is the code).

        Distances rather than codes, because rounding can make another code of two that are equally near.
        """
        codebook = np.asarray(self.quantizer.codebook)
        codes = keras.Input((None, None), dtype="int32", name="codes")
        vectors = keras.layers.Embedding(*codebook.shape, dtype="float32", name="codebook")
        shown = keras.layers.ReLU(1.0, dtype="float32", name="shown")(self.decoder(vectors(codes)))
        vectors.set_weights([codebook])
        distances = keras.layers.Conv2D(self.codes, 1, dtype="float32", name="distances")
        measured = distances(self.encoder.output)
        distances.set_weights([-2.0 * codebook.T[None, None], np.square(codebook).sum(axis=1)])
        encoder = keras.Model(self.encoder.input, {"distances": measured}, name="encoder")
        return {
            "decoder": ExportedNetwork(keras.Model(codes, {"image": shown}, name="decoder")),
            "encoder": ExportedNetwork(encoder, not_pictures=("distances",)),
        }

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return images for the encoder, and their codes for the decoder."""
        images = np.asarray(batch["image"], np.float32)
        return {"decoder": self.encode(images), "encoder": images}

    def compile_for_recipe(
        self,
        steps_per_epoch: int,
        epochs: int | Sequence[Stage],
        learning_rate: float = 1e-3,
        warmup_steps: int = 100,
    ) -> None:
        """Adam with gradients clipped to norm 1, its learning rate warmed up and then half a cosine to 0."""
        schedule = staged(partial(warmed_up_cosine, learning_rate, warmup_steps), steps_per_epoch, epochs)
        self.compile(optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0))


MODEL = VQVAE
PRESETS = {
    "vq_digits": Preset(
        description="autoencoder of scikit-learn's digits with 64 codes, 16 pixels to 8×8 whole numbers",
        config={
            "channels": 1,
            "codes": 64,
            "code_dim": 8,
            "architecture_options": {"filters": (16, 32), "patch": 1},
        },
        data={"source": "digits", "image_size": 16, "channels": 1, "batch_size": 64},
        recipe={"epochs": 40, "learning_rate": 2e-3},
        macs=6_082_560,
    ),
    "vq_emoji_64": Preset(
        description="autoencoder of OpenMoji's drawings with 512 codes, 64 pixels to 16×16 whole numbers",
        config={
            "channels": 3,
            "codes": 512,
            "code_dim": 16,
            "architecture_options": {"filters": (32, 64), "patch": 2},
        },
        data={
            "source": "openmoji",
            "image_size": 64,
            "channels": 3,
            "batch_size": 8,
            "augmentation": "flips_and_shifts",
        },
        recipe={"epochs": 16, "learning_rate": 2e-3},
        macs=98_304_000,
    ),
}
