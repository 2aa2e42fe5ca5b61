"""A prior over the codes of a VQ-VAE: pictures from noise, code by code."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from kerasgen import values
from kerasgen.models.declarations import ExportedNetwork, Labels, Reported
from kerasgen.models.from_noise import FromNoise, in_batches
from kerasgen.models.translation import traced
from kerasgen.models.vq_vae import VQVAE
from kerasgen.networks.macs import Cost, cost
from kerasgen.networks.pixelcnn import by_place, pixelcnn
from kerasgen.presets import Preset
from kerasgen.training.health import Comparable, Sign
from kerasgen.typing import Batch, Config, Tensor


@keras.saving.register_keras_serializable(package="kerasgen")
class CodePrior(FromNoise):
    """A gated PixelCNN over the codes that a trained `VQVAE` gives pictures (van den Oord et al. 2017, 1711.00937).

    Trains on what a `VAE` does: {"image": [batch, height, width, channels] in [0, 1] (, "label", "sample_weight")}.
    Reports `loss`, the negative log-likelihood of an example's codes, in nats a code.

    Pictures are made place by place, in lines: a place's number of z ~ N(0, I) says which quantile of its code's
    distribution is taken, so that the same z gives the same picture. `call` gives the logits of an image's codes.

    Args:
        first_stage: the trained autoencoder, or where it is stored; see `kerasgen.models.first_stage`. It isn't
            trained any more.
        image_shape: (height, width, channels) of the pictures.
        filters, blocks, kernel: of `kerasgen.networks.pixelcnn`.
        num_classes: makes it conditional on a class, an integer below it (or a vector of shares).
        num_attributes: makes it conditional on so many attributes at once, a vector of 0 and 1.
        temperature: by which logits are divided when pictures are made: below 1, codes are more typical.
        top_k: only the k most probable codes of each place are taken; None takes all.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        from kerasgen.models import VQVAE

        vqvae = VQVAE(1, codes=16, code_dim=4, architecture_options={"filters": (8,), "patch": 4})
        prior = CodePrior(vqvae, (16, 16, 1), filters=8, blocks=2, num_classes=10)
        images = prior.generate(4, labels=7)
    """

    reports = (Reported("loss", on_bar=True),)
    evaluation = "pictures"
    encodes = False
    seeded = False
    preview_file = "generated.png"

    def __init__(
        self,
        first_stage: keras.Model | str,
        image_shape: Sequence[int],
        *,
        filters: int = 64,
        blocks: int = 6,
        kernel: int = 5,
        num_classes: int | None = None,
        num_attributes: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        self.first_stage = self._held(first_stage, VQVAE)
        vqvae = self.first_stage.model
        height, width, channels = values.shape("image_shape", image_shape, "height, width, channels")
        self.image_shape = (height, width, channels)
        self.num_classes, self.num_attributes = num_classes, num_attributes
        self.temperature, self.top_k = temperature, top_k
        self.map_shape = vqvae.map_of(self.image_shape)
        self.latent_dim = self.map_shape[0] * self.map_shape[1]
        self._check_labels()
        values.number("temperature", temperature, above=0)
        if top_k is not None:
            values.whole("top_k", top_k, most=vqvae.codes)
        self.network = pixelcnn(
            vqvae.codes, filters=filters, blocks=blocks, kernel=kernel, label_size=self.label_size
        )
        self._steps = by_place(self.network, self.map_shape[1])
        self.built = True

    # -- losses ---------------------------------------------------------------------------------------------

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        inputs, share = self._unpack(data)
        given = self._codes_of(inputs)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self._nll(given, training=True), axis=[1, 2])
            layer_losses = self.layer_losses(self.trainable_variables)
        self.update(tape, loss, share, self.trainable_variables, self.optimizer, layer_losses)
        self.track({"loss": loss + layer_losses}, share)
        return self.results("loss")

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        inputs, share = self._unpack(data)
        loss = tf.reduce_mean(self._nll(self._codes_of(inputs), training=False), axis=[1, 2])
        self.track({"loss": loss + self.layer_losses(self.trainable_variables)}, share)
        return self.results("loss")

    def _codes_of(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's inputs for images: their codes, and labels."""
        told = {"label": inputs["label"]} if self.conditional else {}
        return {"codes": self.first_stage.model.codes_of(inputs["image"]), **told}

    def _nll(self, given: dict[str, Tensor], training: bool) -> Tensor:
        """Return the negative log-probability of each code, in nats: [batch, h, w]."""
        logits = self.network(given, training=training)["logits"]
        return tf.nn.sparse_softmax_cross_entropy_with_logits(given["codes"], logits)

    def call(self, inputs: Batch, training: bool = False) -> Tensor:
        """Return the logits of an image's codes, each given those before it: [batch, h, w, codes]."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(inputs)
        return self.network(self._codes_of(self._inputs_of(x, y)), training=training)["logits"]

    def log_prob(self, codes: Tensor, labels: Tensor = None) -> np.ndarray:
        """Return the log-probability of maps of codes, in nats; the temperature is left out.

        Args:
            codes: whole numbers [n, h, w].
            labels: of a conditional model.

        Returns:
            float64 [n].

        Raises:
            UserError: the codes or labels don't fit.
        """
        codes = self.first_stage.model.checked_codes(codes)
        given = {"codes": tf.constant(codes), **self._label_input(labels)}
        return -in_batches(lambda part: self._nll(part, training=False), given).astype(np.float64).sum(axis=(1, 2))

    # -- pictures -------------------------------------------------------------------------------------------

    def pictures_of(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.first_stage.model.pictures_of_codes(self.codes_from(inputs))

    def codes_from(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return maps of codes, int32 [batch, h, w], of {"z": [batch, latent_dim] (, "label")}."""
        height, width = self.map_shape
        quantiles = np.reshape(0.5 + 0.5 * tf.math.erf(inputs["z"] / math.sqrt(2)), (-1, height, width))
        told = {"label": inputs["label"]} if self.conditional else {}
        codes = np.zeros(quantiles.shape, np.int32)
        above, rows = np.full_like(codes[:, 0], -1), _nothing(self._steps.row.input["rows"], len(codes))
        for row in range(height):
            known = traced(self._steps.row)({"above": tf.constant(above), "rows": rows, **told})
            rows = known["rows_next"]
            codes[:, row] = self._codes_of_row(known["context"], quantiles[:, row], told)
            above = codes[:, row]
        return tf.constant(codes)

    def _codes_of_row(self, context: Tensor, quantiles: np.ndarray, told: dict[str, Tensor]) -> np.ndarray:
        """Return a row's codes [batch, w] by quantiles [batch, w] and by what the rows above say of it."""
        codes = np.zeros(quantiles.shape, np.int32)
        place = self._steps.place
        left, places = np.full_like(codes[:, :1], -1), _nothing(place.input["places"], len(codes))
        for column, quantile in enumerate(quantiles.T):
            here = {"left": tf.constant(left), "context": context[:, :, column, None], "places": places}
            found = traced(place)({**here, **told})
            places = found["places_next"]
            codes[:, column] = self._taken(found["logits"].numpy(), quantile)
            left = codes[:, column : column + 1]
        return codes

    def _taken(self, logits: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
        """Return the codes [batch] at quantiles [batch] of their distributions."""
        logits = logits.astype(np.float64) / self.temperature
        if self.top_k is not None:
            # By rank, so that equally probable codes don't make it more.
            ranks = np.argsort(np.argsort(-logits, axis=1, kind="stable"), axis=1)
            logits = np.where(ranks < self.top_k, logits, -np.inf)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        below = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
        # The last code that has a share, where rounding leaves the sum below a quantile near 1.
        last = shares.shape[1] - 1 - np.argmax(shares[:, ::-1] > 0, axis=1)
        return np.minimum((below <= quantiles[:, None]).sum(axis=1), last)

    # -- declarations ---------------------------------------------------------------------------------------

    @classmethod
    def upgraded_config(cls, config: Mapping[str, Config]) -> dict[str, Config]:
        # Files of a time when it took another network say that they have none.
        own = super().upgraded_config(config)
        return {name: value for name, value in own.items() if (name, value) != ("network", None)}

    def preview(self, n: int = 64, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        labels = None
        if inputs is not None:
            images, labels = self._preview_inputs(inputs, n)
            n = len(images)
        return {"generated": self.generate(n, labels, seed)}

    @property
    def signs(self) -> tuple[Sign, ...]:
        return (Comparable("loss"),)

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the prior's step, in two, and the first stage's decoder.

        "row" is asked once for each row and "place" for each place; see `kerasgen.networks.pixelcnn.ByPlace`.
        """
        says: Labels = "attributes" if self.num_attributes else "classes"
        steps = {"row": self._steps.row, "place": self._steps.place}
        exported = {
            name: ExportedNetwork(network, not_pictures=(*network.input, *network.output), labels=says)
            for name, network in steps.items()
        }
        return exported | {"decoder": self.first_stage.model.networks_to_export()["decoder"]}

    def costs(self, height: int | None = None, width: int | None = None) -> dict[str, Cost]:
        """Return what a whole picture costs in each network: as often as each is asked."""
        height, width = self.map_shape
        times = {"row": height, "place": height * width, "decoder": 1}
        networks = {name: exported.network for name, exported in self.networks_to_export().items()}
        of_one = {name: cost(network, height, width) for name, network in networks.items()}
        return {name: replace(found, macs=times[name] * found.macs) for name, found in of_one.items()}

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the codes of the batch's images, and what is asked in the middle of them, with its labels."""
        codes = self.first_stage.model.encode(np.asarray(batch["image"], np.float32))
        told, steps = self._label_input(self._labels_like(batch)), self._steps

        def known(row: dict[str, Tensor]) -> dict[str, Tensor]:
            return traced(steps.row)({name: tf.constant(value) for name, value in row.items()})

        rows = _nothing(steps.row.input["rows"], len(codes))
        first = known({"above": np.full_like(codes[:, 0], -1), "rows": rows, **told})
        row = {"above": codes[:, 0], "rows": first["rows_next"], **told}
        at = min(1, codes.shape[2] - 1)
        left = codes[:, -1, :1] if at else np.full_like(codes[:, 0, :1], -1)
        place = {"left": left, "context": known(row)["context"][:, :, at : at + 1], **told}
        place["places"] = _nothing(steps.place.input["places"], len(codes))
        asked = {
            network: {name: np.asarray(value) for name, value in given.items()}
            for network, given in {"row": row, "place": place}.items()
        }
        return asked | {"decoder": codes}


def _nothing(kept: keras.KerasTensor, count: int) -> Tensor:
    """Return what is kept of a map's border: zeros."""
    return tf.zeros((count, *kept.shape[1:]))


MODEL = CodePrior
PRESETS = {
    "prior_digits": Preset(
        description="conditional prior over the codes of vq_digits: digits, code by code",
        config={
            "first_stage": "vq_digits",
            "image_shape": (16, 16, 1),
            "filters": 32,
            "num_classes": 10,
        },
        data={"source": "digits", "image_size": 16, "channels": 1, "batch_size": 64},
        recipe={"epochs": 40, "learning_rate": 2e-3},
        macs=13_420_544,
    ),
}
