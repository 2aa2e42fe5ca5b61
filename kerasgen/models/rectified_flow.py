"""Rectified flow: noise becomes a picture, or its latents, along a velocity that a network has learned."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasgen import losses, values
from kerasgen.errors import UserError, a_kind
from kerasgen.keras_hooks import copy_weights, functional_nodes
from kerasgen.models.autoencoder_kl import AutoencoderKL
from kerasgen.models.averages import averaged_copy, follow
from kerasgen.models.base import ReplicaSeedGenerator
from kerasgen.models.change_of_variables import log_density
from kerasgen.models.checks import check_made
from kerasgen.models.declarations import ExportedNetwork, Reported
from kerasgen.models.first_stage import same, stored
from kerasgen.models.from_noise import FromNoise, in_batches
from kerasgen.models.gradients import inner
from kerasgen.networks.ode import SOLVERS, integrate
from kerasgen.networks.velocity import velocity_unet
from kerasgen.presets import Preset
from kerasgen.training.health import Comparable, Sign
from kerasgen.training.schedules import Stage
from kerasgen.typing import Batch, Config, Tensor

_EVALUATION_SEED = 20220907
_GOLDEN = (math.sqrt(5) - 1) / 2
# A preview is drawn after each epoch: so many steps show enough, without guidance, which takes twice the time.
_PREVIEW_STEPS = 4


class Draws(NamedTuple):
    """What a step learns from.

    Attributes:
        noise: where each example begins, [batch, *latent_shape].
        ends: where it ends, of the same shape: the picture in [-1, 1], or its latents.
        time: [batch, 1] in [0, 1).
        told: {"label"} of a conditional model, else {}.
    """

    noise: Tensor
    ends: Tensor
    time: Tensor
    told: dict[str, Tensor]


@keras.saving.register_keras_serializable(package="kerasgen")
class RectifiedFlow(FromNoise):
    """Rectified flow (Liu et al. 2023, 2209.03003; Lipman et al. 2023, 2210.02747), in pixels or in latents.

    At time t between noise x₀ (t = 0) and picture x₁ (t = 1) stands x = t·x₁ + (1 − t)·x₀, and a network learns
    x₁ − x₀ of x, t and the label. Pictures are made by moving noise z along that velocity, in a few steps. Trains on
    what a `VAE` does: {"image": [batch, height, width, channels] in [0, 1] (, "label", "sample_weight")}. Reports
    `loss`, the mean squared error of the velocity for pictures in [-1, 1]; in validation with the same noise and
    times each time. `call` gives the noise that each picture comes from.

    With a `first_stage`, an autoencoder that is trained already, x₁ is what it makes of the picture (Rombach et al.
    2022, 2112.10752): latents of variance 1, drawn from the posterior, in validation its mean. What comes out of the
    noise is decoded.

    A second network, `averaged`, has the moving averages of the first one's weights: validation, previews, pictures
    and exports are made by it.

    Args:
        image_shape: (height, width, channels) of the pictures.
        first_stage: a trained `AutoencoderKL`, or where it is stored; see `kerasgen.models.first_stage`. None is a
            flow in pixels.
        filters, hidden_units, patch: of `kerasgen.networks.velocity_unet`.
        num_classes: makes it conditional on a class, an integer below it (or a vector of shares).
        num_attributes: makes it conditional on so many attributes at once, a vector of 0 and 1.
        label_dropout: the share of examples whose label is hidden in training, so that the network knows the pictures
            of all labels together too. A vector of equal shares (for attributes: of halves) says that.
        guidance: how many times farther than the unconditional velocity the conditional one goes, when pictures are
            made (Ho and Salimans 2022, 2207.12598): 1 is the conditional velocity; more gives more typical pictures.
        steps: that pictures are made in, and that the exported graph holds.
        solver: "heun" (two velocities a step, second order) or "euler" (one, first order).
        ema: what is kept of the averages in a step, less in the first ones.
        seed: of the training's noise.
        network: your own instead of the U-Net, with its inputs and outputs.

    Attributes:
        latent_shape: (height, width, channels) of what moves: a picture, or a map of latents.

    Raises:
        UserError: an argument doesn't fit.

    Example:
        flow = RectifiedFlow.from_preset("flow_digits", load_weights=False, steps=4)
        images = flow.generate(16, labels=7)
    """

    reports = (Reported("loss", on_bar=True),)
    evaluation = "pictures"
    encodes = False
    preview_file = "generated.png"

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        first_stage: keras.Model | str | None = None,
        filters: Sequence[int] = (64, 128),
        hidden_units: int = 128,
        patch: int = 1,
        num_classes: int | None = None,
        num_attributes: int | None = None,
        label_dropout: float = 0.1,
        guidance: float = 1.0,
        steps: int = 8,
        solver: str = "heun",
        ema: float = 0.999,
        seed: int = 0,
        network: keras.Model | None = None,
        **kwargs: Config,
    ):
        super().__init__(**kwargs)
        height, width, channels = values.shape("image_shape", image_shape, "height, width, channels")
        self.image_shape = (height, width, channels)
        self.first_stage = None if first_stage is None else self._held(first_stage, AutoencoderKL)
        self.latent_shape = self._latent_shape()
        self.latent_dim = math.prod(self.latent_shape)
        self.num_classes, self.num_attributes, self.label_dropout = num_classes, num_attributes, label_dropout
        self.guidance, self.steps, self.solver, self.ema, self.seed = guidance, steps, solver, ema, seed
        self._check_arguments()
        self.network = network or velocity_unet(
            self.latent_shape,
            values.widths("filters", filters),
            hidden_units,
            label_size=self.label_size,
            patch=patch,
        )
        if functional_nodes(self.network):
            check_made("network", keras.tree.flatten(self.network.output)[0].shape, self.latent_shape)
        self.averaged = averaged_copy(self.network)
        self.random = ReplicaSeedGenerator(seed)
        self._compiled = tf.function(lambda inputs: self.averaged(inputs, training=False), reduce_retracing=True)
        self._taught: Callable[[Tensor, Tensor | None], Tensor] | None = None
        self._trackers["examples"] = keras.metrics.Sum(name="examples")
        self.built = True

    def _check_arguments(self) -> None:
        self._check_labels()
        self._check_choice("solver", SOLVERS)
        self._check_not_negative("guidance")
        for name, share in (("label_dropout", self.label_dropout), ("ema", self.ema)):
            if values.number(name, share, least=0) > 1:
                raise UserError(f"{name} is {share}: give a share from 0 to 1.")
        values.whole("steps", self.steps, most=1000)
        values.seed("seed", self.seed)
        if self.guidance != 1 and not self.conditional:
            raise UserError(
                f"guidance is {self.guidance}, but the model is conditional on nothing: leave it at 1, or give "
                "num_classes."
            )

    def _latent_shape(self) -> tuple[int, int, int]:
        if self.first_stage is None:
            return self.image_shape
        autoencoder = self.first_stage.model
        return (*autoencoder.map_of(self.image_shape), autoencoder.latent_channels)

    # -- losses ---------------------------------------------------------------------------------------------

    def train_step(self, data: Batch) -> dict[str, Tensor]:
        inputs, share = self._unpack(data)
        draws = self.draws(inputs)
        with tf.GradientTape() as tape:
            loss = self._loss(self.network, draws, training=True)
            layer_losses = self.layer_losses(self.trainable_variables)
        updates = inner(self.optimizer).iterations
        before = tf.identity(updates)
        self.update(tape, loss, share, self.trainable_variables, self.optimizer, layer_losses)
        done = tf.cast(updates, tf.float32)
        # The first averages forget the random weights sooner; a step without an update moves nothing.
        kept = tf.minimum(self.ema, (1 + done) / (10 + done))
        follow(self.averaged, self.network, tf.where(updates > before, 1 - kept, 0.0))
        self.track({"loss": loss + layer_losses}, share)
        return self.results("loss")

    def test_step(self, data: Batch) -> dict[str, Tensor]:
        inputs, share = self._unpack(data)
        examples = self._trackers["examples"]
        count = tf.shape(inputs["image"])[0]
        places = share.first_place(examples.result()) + tf.range(count)
        noise = tf.map_fn(
            lambda place: tf.random.stateless_normal(self.latent_shape, seed=[_EVALUATION_SEED, place]),
            places,
            fn_output_signature=tf.TensorSpec(self.latent_shape, tf.float32),
        )
        # Multiples of the golden ratio fill the times evenly, however many examples there are.
        time = tf.cast(places % 10_000, tf.float32)[:, None] * _GOLDEN % 1.0
        draws = Draws(noise, self._ends(inputs, noise), time, self._told(inputs))
        loss = self._loss(self.averaged, draws, training=False)
        examples.update_state(share.own(tf.ones([count])))
        self.track({"loss": loss + self.layer_losses(self.trainable_variables)}, share)
        return self.results("loss")

    def draws(self, inputs: dict[str, Tensor]) -> Draws:
        """Return what a training step learns from, all that is random in it.

        Args:
            inputs: images [batch, height, width, channels], and labels.

        Returns:
            Times that cover [0, 1) evenly, and some labels hidden.
        """
        count = tf.shape(inputs["image"])[0]
        noise = self._noise(count)
        within = keras.random.uniform((count, 1), seed=self.random)
        time = (tf.range(tf.cast(count, tf.float32))[:, None] + within) / tf.cast(count, tf.float32)
        told = self._told(inputs)
        if self.conditional:
            hidden = keras.random.uniform((count, 1), seed=self.random) < self.label_dropout
            told = {"label": tf.where(hidden, self._unknown, told["label"])}
        drawn = None if self.first_stage is None else self._noise(count)
        return Draws(noise, self._ends(inputs, noise, drawn), time, told)

    def _noise(self, count: Tensor) -> Tensor:
        return keras.random.normal((count, *self.latent_shape), seed=self.random)

    def _told(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"label": inputs["label"]} if self.conditional else {}

    def _ends(self, inputs: dict[str, Tensor], noise: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Return what noise should become, [batch, *latent_shape].

        Args:
            inputs: images [batch, height, width, channels] in [0, 1], and labels.
            noise: where it begins, of which a teacher knows the end.
            drawn: noise by which latents are drawn; None gives the posterior's means.
        """
        if self._taught is not None:
            return tf.stop_gradient(self._taught(noise, self._told(inputs).get("label")))
        return self._places(inputs["image"], drawn)

    def _places(self, images: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Return where images in [0, 1] lie: themselves in [-1, 1], or their latents."""
        if self.first_stage is None:
            return 2.0 * images - 1.0
        return self.first_stage.model.latents_of(images, drawn)

    def _loss(self, network: keras.Model, draws: Draws, training: bool) -> Tensor:
        """Return the mean squared error of the velocity, [batch]."""
        noise, ends, time, told = draws
        t = time[:, :, None, None]
        velocity = network({"image": t * ends + (1 - t) * noise, "time": time, **told}, training=training)
        return losses.squared_error(ends - noise, velocity)

    @property
    def _unknown(self) -> float:
        """What each entry of a label is that says nothing."""
        return 1 / self.num_classes if self.num_classes else 0.5

    def reflow(self, teacher: keras.Model | str) -> None:
        """Let `fit` learn where a trained flow takes noise, instead of pictures: straighter ways, for few steps.

        Liu et al. (2023, 2209.03003). Each step draws noise, and asks the teacher by its own steps, solver and
        guidance where it ends for the data's labels; of the data's pictures nothing is learned. Begin with the
        teacher's weights, and compile the model after this. The teacher isn't saved with it.

        Args:
            teacher: a `RectifiedFlow`, or where it is stored; see `kerasgen.models.first_stage`.

        Raises:
            UserError: it is something else, moves or knows something else, or this flow is guided itself.
        """
        given = stored(teacher, RectifiedFlow) if isinstance(teacher, str) else teacher
        if not isinstance(given, RectifiedFlow):
            raise UserError(f"The teacher is {a_kind(given)}: give a trained RectifiedFlow.")
        if self.guidance != 1:
            raise UserError(
                f"guidance is {self.guidance}, but what the teacher's guidance does is learned from it: give 1."
            )
        if (self.latent_shape, self.label_size) != (given.latent_shape, given.label_size):
            raise UserError(
                f"This flow moves {self.latent_shape} and is told {self.label_size} classes or attributes, but the "
                f"teacher moves {given.latent_shape} and is told {given.label_size}: give both the same."
            )
        if not same(self.first_stage, given.first_stage):
            raise UserError("This flow and its teacher have other first stages: give both the same.")
        # What a closure holds is neither tracked nor saved.
        self._taught = lambda noise, label: given._moved(noise, label, given.steps, given.guidance)

    def compile_for_recipe(
        self,
        steps_per_epoch: int,
        epochs: int | Sequence[Stage],
        learning_rate: float = 1e-3,
        teacher: keras.Model | str | None = None,
    ) -> None:
        """Adam, its learning rate following half a cosine to 0; with a teacher, for `reflow`."""
        if teacher is not None:
            self.reflow(teacher)
        super().compile_for_recipe(steps_per_epoch, epochs, learning_rate)

    # -- pictures -------------------------------------------------------------------------------------------

    def sampling_network(
        self, steps: int | None = None, solver: str | None = None, guidance: float | None = None
    ) -> keras.Model:
        """Return all steps from noise to picture as one network, which shares the weights of `averaged`.

        Args:
            steps, solver, guidance: instead of the model's own.

        Returns:
            A functional model from {"z": [batch, latent_dim] (, "label": [batch, label_size])} to images
            [batch, height, width, channels] in [0, 1]; `kerasgen.export.export_model` takes it.

        Raises:
            UserError: there are no such steps, or there is no such solver.
        """
        steps = self.steps if steps is None else values.whole("steps", steps)
        solver = self.solver if solver is None else solver
        if solver not in SOLVERS:
            raise UserError(f"solver is {solver!r}: choose one of {', '.join(SOLVERS)}.")
        inputs = {"z": keras.Input((self.latent_dim,), name="z")}
        if self.conditional:
            inputs["label"] = keras.Input((self.label_size,), name="label")
        zero = ops.zeros_like(inputs["z"][:, :1])
        strength = self.guidance if guidance is None else guidance
        velocity = self._velocity(self.averaged, zero, inputs.get("label"), strength)
        x = keras.layers.Reshape(self.latent_shape, dtype="float32", name="noise")(inputs["z"])
        x = integrate(velocity, x, steps, solver)
        if self.first_stage is not None:
            decoder = self.first_stage.model.networks_to_export()["decoder"].network
            return keras.Model(inputs, decoder(x)["image"], name="generator")
        x = keras.layers.Rescaling(0.5, 0.5, dtype="float32", name="rescaled")(x)
        image = keras.layers.ReLU(1.0, dtype="float32", name="image")(x)
        return keras.Model(inputs, image, name="generator")

    def pictures_of(self, inputs: dict[str, Tensor]) -> Tensor:
        return self._pictures(inputs, self.steps, self.guidance)

    def _pictures(self, inputs: dict[str, Tensor], steps: int, guidance: float) -> Tensor:
        noise = tf.reshape(inputs["z"], (-1, *self.latent_shape))
        x = self._moved(noise, inputs.get("label"), steps, guidance)
        if self.first_stage is not None:
            return self.first_stage.model.pictures_of_latents(x)
        return tf.clip_by_value(0.5 * x + 0.5, 0.0, 1.0)

    def _moved(self, noise: Tensor, label: Tensor | None, steps: int, guidance: float) -> Tensor:
        """Return where noise ends, both [batch, *latent_shape]."""
        velocity = self._velocity(self._compiled, tf.zeros_like(noise[:, 0, 0, :1]), label, guidance)
        return integrate(velocity, noise, steps, self.solver)

    def _velocity(
        self,
        network: Callable[[dict[str, Tensor]], Tensor],
        zero: Tensor,
        label: Tensor | None,
        guidance: float = 1.0,
    ) -> Callable[[Tensor, float], Tensor]:
        """Return the velocity of pictures [batch, …] at a time, guided; for tensors and for graphs being built.

        Args:
            network: `averaged`, or a function that calls it.
            zero: [batch, 1] zeros.
            label: [batch, label_size]; None for an unconditional model.
            guidance: 1 is the network's own velocity for the label.
        """

        def velocity(x: Tensor, time: float) -> Tensor:
            given = {"image": x, "time": zero + time}
            if label is None:
                return network(given)
            known = network({**given, "label": label})
            if guidance == 1:
                return known
            unknown = network({**given, "label": ops.zeros_like(label) + self._unknown})
            return unknown + guidance * (known - unknown)

        return velocity

    def call(self, inputs: Batch, training: bool = False) -> Tensor:
        """Return the noise [batch, *latent_shape] that pictures come from, by the flow run backwards."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(inputs)
        given = self._inputs_of(x, y)
        zero = tf.zeros([tf.shape(given["image"])[0], 1])
        velocity = self._velocity(self._compiled, zero, given.get("label"))
        return integrate(velocity, self._places(given["image"]), self.steps, self.solver, start=1.0, end=0.0)

    def log_prob(
        self,
        images: Tensor,
        labels: Tensor = None,
        steps: int = 32,
        probes: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Return the log-density of images under the flow, by the instantaneous change of variables, in nats.

        Chen et al., "Neural Ordinary Differential Equations" (2018, 1806.07366); the velocity isn't guided.

        Args:
            images: [n, height, width, channels] in [0, 1], which is also the unit of the density.
            labels: of a conditional model.
            steps: of Heun's method.
            probes: random directions that estimate the divergence without a bias (Grathwohl et al. 2019, 1810.01367);
                None computes it exactly, by `latent_dim` gradients a velocity.
            seed: of the probes.

        Returns:
            float64 [n].

        Raises:
            UserError: an argument doesn't fit, or it is a flow of latents.
        """
        if self.first_stage is not None:
            raise UserError(
                "This flow moves latents, of which many make nearly the same picture, so that the density of a "
                "picture isn't known: ask a flow in pixels, one without first_stage."
            )
        values.whole("steps", steps)
        if probes is None:
            directions = np.eye(self.latent_dim, dtype=np.float32)
        else:
            shape = (values.whole("probes", probes), self.latent_dim)
            values.seed("seed", seed)
            signs = np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)
            directions = (2 * signs - 1) / np.float32(math.sqrt(probes))

        def densities(inputs: dict[str, Tensor]) -> Tensor:
            return self._log_density(inputs, steps, tf.constant(directions))

        return in_batches(densities, self._inputs(images, labels)).astype(np.float64)

    def _log_density(self, inputs: dict[str, Tensor], steps: int, directions: Tensor) -> Tensor:
        field = self._velocity(self._compiled, tf.zeros([tf.shape(inputs["image"])[0], 1]), inputs.get("label"))
        found = log_density(field, self._places(inputs["image"]), steps, directions)
        return found + self.latent_dim * math.log(2)  # of pictures in [0, 1] rather than [-1, 1]

    # -- declarations ---------------------------------------------------------------------------------------

    def preview(self, n: int = 64, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        labels = None
        if inputs is not None:
            images, labels = self._preview_inputs(inputs, n)
            n = len(images)
        z = np.random.default_rng(seed).standard_normal((n, self.latent_dim), dtype=np.float32)
        given = {"z": tf.constant(z), **self._label_input(self._labels_for(n, labels))}
        return {"generated": in_batches(lambda part: self._pictures(part, _PREVIEW_STEPS, 1.0), given)}

    def forget_training(self) -> None:
        # What makes the pictures is what another training should begin with; and it is stored once then.
        copy_weights(self.network, self.averaged)

    @property
    def signs(self) -> tuple[Sign, ...]:
        return (Comparable("loss"),)

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the generator: noise z and label to a picture, with all steps in one graph."""
        return {"generator": ExportedNetwork(self.sampling_network())}

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return noise, and the batch's labels or classes in turn."""
        count = len(batch["image"])
        z = np.random.default_rng(0).standard_normal((count, self.latent_dim), dtype=np.float32)
        labels = self._label_input(self._labels_like(batch))
        return {"generator": {"z": z, **{name: np.asarray(value) for name, value in labels.items()}}}


MODEL = RectifiedFlow
PRESETS = {
    "flow_digits": Preset(
        description="conditional rectified flow of scikit-learn's handwritten digits, 16×16 gray; about ten minutes",
        config={"image_shape": (16, 16, 1), "filters": (64, 128), "patch": 2, "num_classes": 10, "guidance": 1.2},
        data={"source": "digits", "image_size": 16, "channels": 1, "batch_size": 64},
        recipe={"epochs": 100, "learning_rate": 1e-3},
        macs=753_573_888,
    ),
    "flow_emoji_64": Preset(
        description="flow in kl_emoji_64's latents: new emoji by skin tone, gender and kind; an hour",
        config={
            "image_shape": (64, 64, 3),
            "first_stage": "kl_emoji_64",
            "filters": (96, 128),
            "num_attributes": 11,
            "guidance": 2.0,
        },
        data={"source": "openmoji_attributes", "image_size": 64, "channels": 3, "batch_size": 64},
        recipe={"epochs": 150, "learning_rate": 1e-3},
        macs=1_388_187_648,
    ),
}
