"""What every model shares: tracked losses, replica-correct updates and randomness, presets, deployables."""

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from kerasgen.errors import UserError, require_tensorflow
from kerasgen.presets import find, presets

require_tensorflow("Training with kerasgen.models")


@keras.saving.register_keras_serializable(package="kerasgen")
class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """A seed generator whose replicas under tf.distribute draw different numbers.

    Keras' own gives each replica the same seed, so that each would add the same noise to its part of the batch.
    Replica 0 draws what a single device would.
    """

    def next(self, ordered: bool = True):
        seed = super().next(ordered=ordered)
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context else 0
        # The counter grows by one a draw, so the second word is free to tell replicas apart.
        return seed + tf.cast(tf.stack([0, tf.cast(replica, tf.int32) * 1_000_003]), seed.dtype)


class GenerativeModel(keras.Model):
    """Base of the zoo's models: a subclass wires networks and writes losses.

    A subclass sets `loss_names` (what training reports) and `validation_names` (what else validation reports),
    and writes `train_step` and `test_step` with `track`, `update` and `results`.
    """

    # Whether it trains on two domains, {"a": …, "b": …}, rather than on {"image": …}.
    unpaired = False
    # The function of kerasgen.data that loads what it trains on.
    data_loader = "load"
    loss_names: tuple[str, ...] = ("loss",)
    validation_names: tuple[str, ...] = ()

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._trackers = {name: keras.metrics.Mean(name=name) for name in (*self.loss_names, *self.validation_names)}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Exactly what is logged; Keras resets these at the start of each epoch and evaluation."""
        return list(self._trackers.values())

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """Every optimizer of the compiled model, for checkpoints; empty before `compile`."""
        return [] if self.optimizer is None else [self.optimizer]

    def track(self, losses: dict[str, Any], sample_weight: Any = None) -> None:
        """Add per-example values ([batch] each, or scalars) to the means that are reported under their names."""
        for name, values in losses.items():
            values = tf.convert_to_tensor(values)
            self._trackers[name].update_state(values, None if values.shape.rank == 0 else sample_weight)

    def results(self, *names: str) -> dict[str, Any]:
        """The present means of `names`, as `train_step` and `test_step` return them."""
        return {name: self._trackers[name].result() for name in names}

    def update(
        self, tape: tf.GradientTape, loss: Any, variables: list, optimizer: keras.optimizers.Optimizer
    ) -> None:
        """One optimizer step on `loss`, a mean over this replica's examples that was computed inside the tape.

        tf.distribute sums the replicas' gradients, so that the mean over the global batch is the sum of the
        replicas' means divided by their number; the division is done here and nowhere else.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tape:
            loss = optimizer.scale_loss(loss / replicas)
        gradients = tape.gradient(loss, variables)
        optimizer.apply(gradients, variables)

    def build(self, input_shape: Any = None) -> None:
        """Nothing is left to build: the networks are, from the constructor on."""
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, without the precision policy, which each network holds itself."""
        return {"name": self.name}

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """A new, untrained model of the preset's configuration; `overrides` replace constructor arguments.

        Raises:
            UserError: there is no such preset, or it is another model's.
        """
        model_class, preset = find(name)
        if not issubclass(model_class, cls):
            own = sorted(n for n, (c, _) in presets().items() if issubclass(c, cls))
            raise UserError(
                f"The preset {name!r} is a {model_class.__name__}, not a {cls.__name__}: "
                f"use {model_class.__name__}.from_preset, or one of {', '.join(own)}."
            )
        return model_class(**{**preset.config, **overrides})

    def compile_for_recipe(self, steps_per_epoch: int, epochs: int, **recipe: Any) -> None:
        """Compile as the preset's recipe says, with schedules that end with the training."""
        raise NotImplementedError(f"{type(self).__name__} has no training recipe.")

    def deployables(self) -> dict[str, keras.Model]:
        """The networks worth shipping, by name: plain Keras models for `kerasgen.export.export_model`."""
        raise NotImplementedError(f"{type(self).__name__} names no networks to export.")

    def preview(self, n: int = 64, seed: int = 0, inputs: Any = None) -> dict[str, np.ndarray]:
        """Pictures of what the model does now, the same for the same arguments and weights.

        Returns:
            Images [n, height, width, channels] in [0, 1] by title; several titles stand side by side.
        """
        raise NotImplementedError(f"{type(self).__name__} has no preview.")
