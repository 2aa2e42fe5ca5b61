"""What every model shares: declarations, tracked losses, replica-correct updates and randomness, presets."""

import copy
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from types import GeneratorType
from typing import ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from kerasgen import values
from kerasgen.declared import check_known
from kerasgen.errors import UserError, a_kind, require_tensorflow
from kerasgen.keras_hooks import require_training_hooks
from kerasgen.models.batches import Share, replica_count, summed_over_replicas, unpacked
from kerasgen.models.checks import check_networks, check_numbers, refusals, weighted
from kerasgen.models.declarations import Evaluation, ExportedNetwork, Loader, Reported, Teacher
from kerasgen.models.gradients import Accumulator, apply_summed, check_optimizer, inner, trained_variables
from kerasgen.models.pretrained import Pretrained
from kerasgen.networks.macs import Cost, cost
from kerasgen.presets import CONVENTION
from kerasgen.training.distribute import failing_workers, several_workers_function, worker_count
from kerasgen.training.health import Answers, Sign
from kerasgen.training.schedules import Stage, ended_at
from kerasgen.typing import Batch, Config, Tensor
from kerasgen.untuned import untuned

require_tensorflow("Training with kerasgen.models")
require_training_hooks()

# From an iterator over batches to the logs of a step.
StepFunction = Callable[[Iterator], dict[str, Tensor]]
# What Keras' compile takes beside a loss and metrics, for losses and metrics that a model has of its own.
_NOT_COMPILED = ("loss_weights", "weighted_metrics")


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


_RATE_CHANGING = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


def _flat(callbacks: object) -> list[object]:
    """Return the callbacks that were given to `fit`: none, one, several, or Keras' own list of them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return keras.tree.flatten(callbacks)


def _untuned(args: tuple, kwargs: dict[str, Config]) -> tuple[tuple, dict[str, Config]]:
    """Return the arguments of `fit`, `evaluate` or `predict` with datasets whose iterations end at once.

    A generator's batches become tuples, which Keras asks for, whatever batches of other data are.
    """
    datasets = {name: _as_taken(value) for name, value in kwargs.items() if name in ("x", "validation_data")}
    return (*map(_as_taken, args[:1]), *args[1:]), {**kwargs, **datasets}


def _as_taken(data: Config) -> Config:
    if not isinstance(data, GeneratorType):
        return untuned(data)
    return (batch if isinstance(batch, tuple) else (batch,) for batch in data)


class GenerativeModel(Pretrained, keras.Model):
    """Base of the zoo's models: a subclass wires networks and writes losses.

    A subclass declares the attributes below, and writes `train_step` and `test_step` with `track`, `update` and
    `results`. The constructor's arguments are recorded here, for `get_config`: a subclass keeps no list of them.

    What derives from such a model keeps the model's arguments, whatever its own constructor takes, and tells of its
    own in a `get_config`, as with Keras' layers. `class Mine(VAE, own_arguments=True)` records its own instead; they
    must be all that the model's checks ask for.

    Attributes:
        loaders: how its data may be loaded; the first is the usual one.
        reports: what training and validation report.
        evaluation: how `kerasgen evaluate` measures it.
        generates: whether `generate(n)` makes pictures from noise.
        seeded: whether its training draws random numbers, by its argument `seed`.
        preview_file: the name of a run's last picture, which shows what becomes of a batch.
        image_range: what black and white are in its images.
        former_arguments: constructor arguments under the names that files of earlier layouts have for them.
    """

    loaders: ClassVar[tuple[Loader, ...]] = (Loader("load"),)
    reports: ClassVar[tuple[Reported, ...]] = (Reported("loss", on_bar=True),)
    evaluation: ClassVar[Evaluation] = "score"
    generates: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    preview_file: ClassVar[str] = "preview.png"
    image_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    former_arguments: ClassVar[dict[str, str]] = {}

    _arguments: dict[str, Config]
    train_function: StepFunction

    # Whether a constructor of this class, or of one above it, records its arguments.
    _records: ClassVar[bool] = False

    def __init_subclass__(cls, own_arguments: bool = False, **kwargs: Config) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and (own_arguments or not cls._records):
            cls.__init__, cls._records = _recording(cls.__init__), True  # type: ignore[method-assign]

    def __init__(self, **kwargs: Config):
        super().__init__(**kwargs)
        self.__dict__.setdefault("_arguments", {})  # of a model that has no constructor
        self._trackers = {
            reported.name: keras.metrics.Mean(name=reported.name) for reported in self.reports if reported.by_steps
        }
        self._accumulation_steps = 1
        self._accumulators: list[Accumulator] = []
        # So many first steps the next `fit` only counts, because they were made before an interruption.
        self.steps_to_skip = 0

    @property
    def networks_run_again(self) -> bool:
        """Whether a training step runs the same network more than once."""
        return False

    @property
    def image_multiple(self) -> int:
        """What height and width must be divisible by."""
        return 1

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Exactly what is logged; Keras resets these at the start of each epoch and evaluation."""
        return list(self._trackers.values())

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """Every optimizer of the compiled model, for checkpoints; empty before `compile`."""
        return [self.optimizer] if self.compiled and self.optimizer is not None else []

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str | None = "rmsprop",
        loss: None = None,
        metrics: None = None,
        *,
        gradient_accumulation_steps: int = 1,
        jit_compile: bool | str = False,
        **kwargs: Config,
    ) -> None:
        """Set the optimizer, as Keras does.

        Args:
            optimizer: any of Keras', with clipping, EMA and schedules as Keras takes them. They see the gradient of
                the global batch under every strategy.
            gradient_accumulation_steps: k updates the weights after each k-th step only, by the mean of the k
                gradients, as a batch k times larger would. The optimizer counts updates: so do its schedules.
            jit_compile: whether XLA compiles the steps. Keras' own default, "auto", does so wherever there is one
                GPU, and there a step of CycleGAN failed.
            loss, metrics: None; a model has its own.

        Raises:
            UserError: the number of steps is below 1, or a loss or metrics were given.
        """
        steps = values.whole("gradient_accumulation_steps", gradient_accumulation_steps)
        given = {"loss": loss, "metrics": metrics, **{name: kwargs.pop(name, None) for name in _NOT_COMPILED}}
        for name, value in given.items():
            if value is not None:
                raise UserError(
                    f"compile got {name}={value!r}, but {type(self).__name__} computes its own losses and reports "
                    f"its own metrics: leave {name} out, and measure anything else in a callback."
                )
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self._accumulation_steps, self._accumulators = steps, []

    def save(
        self, filepath: str | os.PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Config
    ) -> None:
        """Write a file as Keras does; the optimizers of a model that was never fitted get their state before.

        Without it the file would hold none, of which Keras complains when it reads the file.

        Raises:
            UserError: the file would be of another format than .keras, which can't hold the model.
        """
        name = os.fspath(filepath)
        folder = zipped is False or (zipped is None and name.startswith("hf://"))
        if not folder and not name.endswith(".keras"):
            raise UserError(
                f"{name} doesn't end with .keras, the only format of Keras that can hold {a_kind(self)}: "
                'save it as a .keras file, or its weights alone by save_weights("….weights.h5").'
            )
        self.prepare_optimizers()
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    # Keras leaves a generator's state out of files: a training that goes on from one would repeat its draws.
    def save_own_variables(self, store: MutableMapping[str, np.ndarray]) -> None:
        super().save_own_variables(store)
        seeds = self._own_seeds()
        if seeds is not None:
            store["seed_state"] = keras.ops.convert_to_numpy(seeds.state)

    def load_own_variables(self, store: Mapping[str, np.ndarray]) -> None:
        found, seeds = {name: store[name] for name in store.keys()}, self._own_seeds()  # noqa: SIM118
        state = None if seeds is None else found.pop("seed_state", None)
        super().load_own_variables(found)
        if seeds is not None and state is not None:  # an earlier file has none
            seeds.state.assign(state)

    def _own_seeds(self) -> ReplicaSeedGenerator | None:
        return next((value for value in vars(self).values() if isinstance(value, ReplicaSeedGenerator)), None)

    def get_compile_config(self) -> dict[str, Config] | None:
        config = super().get_compile_config()
        own = {"gradient_accumulation_steps": self._accumulation_steps}
        return config and {**config, **own, **self.frozen_config()}

    def compile_from_config(self, config: dict[str, Config]) -> None:
        config = self.frozen_again(config)
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def frozen_config(self) -> dict[str, list[int]]:
        """Return which layers are not trained, by their places: files of Keras forget it, and lose the optimizer."""
        return {"frozen": [i for i, layer in enumerate(self._flatten_layers()) if not layer.trainable]}

    def frozen_again(self, config: dict[str, Config]) -> dict[str, Config]:
        """Freeze the layers that `frozen_config` named, where a file's configuration has it; return what is left."""
        if config.get("frozen", present := self.frozen_config()["frozen"]) != present:  # earlier files have none
            for i, layer in enumerate(list(self._flatten_layers())):  # a network before its layers, which follow it
                layer.trainable = i not in config["frozen"]
        return {name: value for name, value in config.items() if name != "frozen"}

    def make_train_function(self, force: bool = False) -> None:
        self.prepare_optimizers()
        super().make_train_function(force)
        if self.steps_to_skip:
            self.train_function = self._after_skipped(self.train_function)

    def _after_skipped(self, function: StepFunction) -> StepFunction:
        if self.steps_to_skip % self.steps_per_execution:
            raise UserError(
                f"The training goes on after step {self.steps_to_skip} of an epoch, which isn't a multiple of "
                f"steps_per_execution={self.steps_per_execution}: compile the model as before the interruption."
            )

        def skipping(iterator: Iterator) -> dict[str, Tensor]:
            if self.steps_to_skip:
                self.steps_to_skip -= self.steps_per_execution
                return {}
            return function(iterator)

        return skipping

    def _make_function(self, step_function: Callable[[Tensor], dict[str, Tensor]]) -> StepFunction:
        several = self.distribute_strategy.num_replicas_in_sync > 1
        # On several devices Keras' own loop over steps fails (keras#19246).
        if worker_count(self.distribute_strategy) > 1 or (several and self.steps_per_execution > 1):
            function = several_workers_function(self, step_function)
        elif self.jit_compile and not several:
            function = self._compiled_after_checks(step_function)
        else:
            function = super()._make_function(step_function)

        def refusing(iterator: Iterator) -> dict[str, Tensor]:
            with refusals():
                return function(iterator)

        return refusing

    def _compiled_after_checks(self, step_function: Callable[[Tensor], dict[str, Tensor]]) -> StepFunction:
        """Compile a step with XLA, which drops assertions: they stand before it."""
        compiled = tf.function(step_function, jit_compile=True, reduce_retracing=True)

        def step(data: Tensor) -> dict[str, Tensor]:
            self.check_batch(data)
            return compiled(data)

        self.jit_compile = False
        try:
            return super()._make_function(step)
        finally:
            self.jit_compile = True

    def check_batch(self, data: Tensor) -> None:
        """Raise `UserError` unless the model can learn from what `fit` gave to a step; in a graph, when it runs."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what it learns from.")

    def fit(self, *args: Config, **kwargs: Config) -> keras.callbacks.History:
        """Train as Keras does, under every strategy of tf.distribute, several workers included.

        Raises:
            UserError: pictures or labels are not what the model takes, another worker has stopped, an optimizer
                doesn't fit the strategy, its learning rate has come to 0, or a callback changes that of one of two.
        """
        check_numbers(args, kwargs)
        args, kwargs = _untuned(*weighted(args, kwargs))
        if self.compiled and None in (self.optimizers or [None]):
            raise UserError("compile got no optimizer: give one, such as 'adam', or leave it out for the default.")
        changing = [one for one in _flat(kwargs.get("callbacks")) if isinstance(one, _RATE_CHANGING)]
        if changing and len(self.optimizers) > 1:
            raise UserError(
                f"{type(changing[0]).__name__} changes the learning rate of one optimizer, but {type(self).__name__} "
                f"has {len(self.optimizers)}: give their schedules to the optimizers."
            )
        if self.optimizers and kwargs.get("initial_epoch", 0) < kwargs.get("epochs", 1):
            self._refuse_an_ended_schedule()
        with failing_workers():
            history = super().fit(*args, **kwargs)
        for optimizer in self.optimizers:
            if optimizer is not self.optimizer:  # whose averages Keras puts in place itself
                optimizer.finalize_variable_values(trained_variables(optimizer))
        return history

    def evaluate(self, *args: Config, **kwargs: Config) -> dict[str, float] | list[float]:
        """Return what `test_step` reports of a dataset, as Keras does.

        Raises:
            UserError: pictures or labels are not what the model takes.
        """
        check_numbers(args, kwargs)
        args, kwargs = _untuned(*weighted(args, kwargs))
        return super().evaluate(*args, **kwargs)

    def predict(self, *args: Config, **kwargs: Config) -> np.ndarray | dict[str, np.ndarray]:
        """Return what `call` makes of each example, as Keras does.

        Raises:
            UserError: pictures or labels are not what the model takes.
        """
        check_numbers(args, kwargs)
        args, kwargs = _untuned(args, kwargs)
        with refusals():
            return super().predict(*args, **kwargs)

    def predict_step(self, data: Tensor) -> Tensor | dict[str, Tensor]:
        x, _, share = unpacked(data)
        return keras.tree.map_structure(share.own, self(x, training=False))

    def _refuse_an_ended_schedule(self) -> None:
        steps = [ended_at(inner(optimizer)) for optimizer in self.optimizers]
        if None not in steps:
            raise UserError(
                f"The training that this model is of ended with step {steps[0]}, where its learning rate is 0, so it "
                "would learn nothing: go on by `kerasgen train --resume --epochs N`, or compile it anew."
            )

    def prepare_optimizers(self) -> None:
        """Build the optimizers' state, which neither checkpoints nor tf.distribute build later; `fit` does it.

        Raises:
            UserError: an optimizer has an option that Keras can't bring under the strategy.
        """
        for optimizer in self.optimizers:
            check_optimizer(optimizer, self.distribute_strategy.num_replicas_in_sync)
            if not optimizer.built:
                with self.distribute_strategy.scope():
                    optimizer.build(self.trainable_variables)
        if self._accumulation_steps > 1 and not self._accumulators:
            with self.distribute_strategy.scope():
                self._accumulators = [Accumulator(o, self._accumulation_steps) for o in self.optimizers]

    @property
    def training_variables(self) -> dict[str, list]:
        """Everything that a training changes, by where it belongs; a checkpoint holds all of it.

        Among the model's own are seeds, image pools and counters. The metrics, of which each replica has its own,
        are left out.
        """
        self.prepare_optimizers()
        groups = {"model": self.variables} | {f"optimizer_{i}": o.variables for i, o in enumerate(self.optimizers)}
        return {**groups, "accumulators": [v for a in self._accumulators for v in a.variables]}

    @property
    def learned_variables(self) -> list[keras.Variable]:
        """What a training learns, in networks and beside them; seeds, pools and counters aren't among it."""
        return self.trainable_weights

    def track(self, values: dict[str, Tensor], share: Share) -> None:
        """Add values [batch] of a replica's examples to the means that are reported under their names."""
        weight = None if share.weight is None else share.own(share.weight)
        for name, of_examples in values.items():
            self._trackers[name].update_state(share.own(of_examples), weight)

    def results(self, *names: str) -> dict[str, Tensor]:
        """Return the present means of `names` over all replicas, as `train_step` and `test_step` return them."""
        metrics = [self._trackers[name] for name in names]
        if replica_count() == 1:
            return {name: metric.result() for name, metric in zip(names, metrics, strict=True)}
        states = [[tf.convert_to_tensor(v.value) for v in metric.variables] for metric in metrics]
        sums = summed_over_replicas(keras.tree.flatten(states))
        states = keras.tree.pack_sequence_as(states, sums)
        return {name: m.stateless_result(state) for name, m, state in zip(names, metrics, states, strict=True)}

    def layer_losses(self, variables: list[keras.Variable]) -> Tensor:
        """Return the sum of what regularizers say of these variables, and what layers gave to `add_loss`: a scalar.

        Call it after the networks, inside the tape; `update` adds it to the mean of the losses.

        Raises:
            UserError: a layer calls `add_loss`, and the networks run several times a step, or on several devices.
        """
        regularizers = [v for v in self.trainable_variables if v.regularizer is not None]
        added = self.losses[: len(self.losses) - len(regularizers)]
        if added and (self.networks_run_again or replica_count() > 1):
            where = "it runs networks again in a step" if self.networks_run_again else "it runs on several devices"
            raise UserError(
                f"A layer adds a loss of its own (add_loss or activity_regularizer), which {type(self).__name__} "
                f"can't take, because {where}: regularize the layer's weights instead."
            )
        penalties = [v.regularizer(v) for v in variables if v.regularizer is not None]
        return tf.add_n([tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in [*added, *penalties]] or [tf.zeros([])])

    def update(
        self,
        tape: tf.GradientTape,
        losses: Tensor,
        share: Share,
        variables: list[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        layer_losses: Tensor = 0.0,
        when: Tensor | None = None,
    ) -> None:
        """Make one optimizer step on the weighted mean of losses [batch] over the examples of all replicas.

        The gradients are summed over the replicas first, so that clipping, and the search of a loss scale for
        infinities, see what a single device would see.

        Args:
            tape: in which the losses were computed.
            losses: of this replica's examples.
            share: what the mean is made by.
            variables: to update.
            optimizer: of these variables.
            layer_losses: is added to the mean.
            when: on several devices, whether the weights change at all; the same on each.
        """
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        with tape:
            loss = optimizer.scale_loss(share.objective(losses) + layer_losses / replicas)
        gradients = tape.gradient(loss, variables)
        accumulator = next((a for a in self._accumulators if a.optimizer is optimizer), None)
        if replicas == 1 and accumulator is None:
            optimizer.apply(gradients, variables)
            return
        present = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        gradients, variables = [g for g, _ in present], [v for _, v in present]
        context.merge_call(
            apply_summed, args=(summed_over_replicas(gradients), variables, optimizer, accumulator, when)
        )

    def build(self, input_shape: object = None) -> None:
        """Nothing is left to build: the networks are, from the constructor on."""
        self.built = True

    def _maybe_symbolic_build(self, *args: Config, **kwargs: Config) -> None:
        """Do nothing: under a strategy Keras would take a batch to build by, which skips an epoch of the data's
        order, and which fails with several workers (keras#20585)."""

    def get_config(self) -> dict[str, Config]:
        """Return the constructor's arguments, without the precision policy, which each network holds itself."""
        return {"name": self.name, **{name: _serialized(value) for name, value in self._arguments.items()}}

    @classmethod
    def from_config(cls, config: dict[str, Config]) -> Self:
        """Make a model of what `get_config` gave, in this version or in an earlier one."""
        return cls(**{name: _deserialized(value) for name, value in cls.upgraded_config(config).items()})

    @classmethod
    def upgraded_config(cls, config: Mapping[str, Config]) -> dict[str, Config]:
        """Return what `get_config` gave in an earlier version as this one would give it."""
        return {cls.former_arguments.get(name, name): value for name, value in config.items()}

    @classmethod
    def resized(cls, config: Mapping[str, Config], size: int) -> dict[str, Config]:
        """Return constructor arguments for square pictures of another size; most networks take any."""
        return dict(config)

    def compile_for_recipe(
        self, steps_per_epoch: int, epochs: int | Sequence[Stage], *args: Config, **recipe: Config
    ) -> None:
        """Compile as the preset's recipe says, with schedules that end with the training."""
        raise NotImplementedError(f"{type(self).__name__} has no training recipe.")

    @classmethod
    def loader_for(cls, arguments: Mapping[str, Config]) -> Loader | None:
        """Return the first way to load whose sources and needs are all among the arguments, or None."""
        return next((known for known in cls.loaders if arguments.keys() >= {*known.sources, *known.needs}), None)

    def networks_to_export(self) -> dict[str, ExportedNetwork]:
        """Return the networks worth an artifact, by name; `kerasgen.export.export_model` takes each."""
        raise NotImplementedError(f"{type(self).__name__} names no networks to export.")

    def costs(self, height: int | None = None, width: int | None = None) -> dict[str, Cost]:
        """Return the weights and the multiply-accumulates of each network to export, by name.

        Args:
            height: in pixels, where networks take any; None is that of the training pictures, or else 256.
            width: the same.
        """
        own = self.picture_shape
        sides = (height or own[0] or 256, width or own[1] or 256)
        return {name: cost(exported.network, *sides) for name, exported in self.networks_to_export().items()}

    def summary(self, *args: Config, print_fn: Callable[..., None] = print, **kwargs: Config) -> None:
        """Print Keras' table, and what an example costs in each network to export."""
        super().summary(*args, print_fn=print_fn, **kwargs)
        for name, of_network in self.costs().items():
            print_fn(f"{name}: {of_network}")
        print_fn(f"MAC: {CONVENTION}.")

    def example_inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return inputs of the networks to export and of their further signatures, by name, for a batch of data."""
        return {}

    def translators(self) -> dict[str, keras.Model]:
        """Return the networks that make pictures of pictures of any size, by direction: "a2b", "b2a"."""
        return {}

    def translators_at(self, size: int) -> dict[str, keras.Model]:
        """Return `translators`; those that only know pictures of `size` pixels are made to suit any size."""
        return self.translators()

    def teachers(self) -> dict[str, Teacher]:
        """Return the networks whose answers a smaller one can learn, by direction: "a2b", "b2a"."""
        return {}

    @property
    def picture_shape(self) -> tuple[int | None, int | None, int]:
        """Height, width and channels of the pictures to train on; None where any size will do."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what its pictures look like.")

    @property
    def previews_inputs(self) -> bool:
        """Whether `preview` needs a batch to show what becomes of it."""
        return not self.generates

    def preview(self, n: int = 64, seed: int = 0, inputs: Batch | None = None) -> dict[str, np.ndarray]:
        """Pictures of what the model does now, the same for the same arguments and weights.

        Returns:
            Images [n, height, width, channels] in [0, 1] by title; several titles stand side by side.
        """
        raise NotImplementedError(f"{type(self).__name__} has no preview.")

    @property
    def signs(self) -> tuple[Sign, ...]:
        """What its logged numbers say of a training's health."""
        return ()

    def answers(self, batch: Batch) -> Answers | None:
        """Return what it makes of a batch of validation data, to be judged by; None leaves a verdict to the logs."""
        return None

    def score(self, dataset: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """Return measures of the whole test split by name, for a model whose `evaluation` is "pairs" or "score"."""
        raise NotImplementedError(f"{type(self).__name__} has no score.")

    @classmethod
    def reported(cls, name: str) -> Reported:
        """Return the declaration of a logged number, such as "loss" or "val_psnr".

        Raises:
            UserError: the model doesn't report it; the sentence names the nearest, or all that it reports.
        """
        trained = {r.name: r for r in cls.reports if not r.validation_only}
        known = trained | {f"val_{r.name}": r for r in cls.reports}
        check_known(name, known, f"A {cls.__name__} doesn't report {name!r}")
        return known[name]

    @classmethod
    def judged_by(cls) -> list[str]:
        """Return the logged numbers by which checkpoints are compared: the first that a training has counts."""
        judging = [r for r in cls.reports if r.better is not None]
        return [f"val_{r.name}" for r in sorted(judging, key=lambda r: not r.validation_only)]

    def _check_choice(self, name: str, known: Iterable[str]) -> None:
        """Raise `UserError` unless an argument is one of the known names."""
        if self._arguments[name] not in known:
            raise UserError(f"{name} is {self._arguments[name]!r}: choose one of {', '.join(known)}.")

    def _check_not_negative(self, *names: str) -> None:
        """Raise `UserError` unless the arguments are finite numbers of 0 or more."""
        for name in names:
            values.number(name, self._arguments[name], least=0)


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    """Return a model's constructor as one that keeps its arguments, and takes NumPy's numbers as Python's."""
    signature = inspect.signature(init)
    _, *own = (name for name, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))

    @functools.wraps(init)
    def recording(self: GenerativeModel, *args: Config, **kwargs: Config) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: _plain(bound.arguments[name]) for name in own}
        check_networks(arguments, signature.parameters)
        bound.arguments.update(arguments)
        # The first that is entered is the outermost: its arguments make the model again, not those that it gives to a
        # model that it builds on. Past Keras' own __setattr__, which would track networks a second time.
        self.__dict__.setdefault("_arguments", {name: _kept(value) for name, value in arguments.items()})
        init(*bound.args, **bound.kwargs)

    # Keras compares it with `inspect.getfullargspec`, which sees the wrapper alone.
    recording.__signature__ = signature  # type: ignore[attr-defined]
    return recording


def _plain(value: Config) -> Config:
    """Return an argument with Python's numbers and lists for NumPy's, which Keras' layers and JSON don't all take."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def _kept(value: Config) -> Config:
    """Return an argument that the caller can't change any more; networks are what they are."""
    return value if isinstance(value, keras.Model) else copy.deepcopy(value)


def _serialized(value: Config) -> Config:
    return keras.saving.serialize_keras_object(value) if isinstance(value, keras.Model) else copy.deepcopy(value)


def _deserialized(value: Config) -> Config:
    network = isinstance(value, dict) and {"class_name", "config"} <= value.keys()
    # A copy, because Keras takes what it reads out of it.
    return keras.saving.deserialize_keras_object(copy.deepcopy(value)) if network else value
