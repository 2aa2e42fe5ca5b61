"""Checkpoints with all of a training's state, from which it goes on to the bit."""

import json
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, cast

import keras
import numpy as np
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.files import atomic_write, numbered
from kerasgen.training.distribute import is_chief
from kerasgen.typing import Tensor
from kerasgen.untrusted import Fault, check_finite, read_npz, reading


class Best(TypedDict):
    """The best checkpoint so far: its step, and the metric that says so."""

    step: int
    metric: str
    value: float


class Header(TypedDict):
    """What a file says besides the variables: its place in the training, and the logs up to it."""

    step: int
    steps_per_epoch: int
    logs: list[dict[str, float]]
    best: Best | None


# What the array "header" of a file says.
_HEADER = {
    "step": int,
    "steps_per_epoch": int,
    "logs": [dict],
    "best": (None, {"step": int, "metric": str, "value": float}),
}


class Checkpoints(keras.callbacks.Callback):
    """Writes the whole state of a training after each epoch, and every k steps, into files step_NNNNNNNN.npz.

    A file holds every variable of the model (seeds, image pools and counters are among them), of its optimizers and
    its gradient accumulation, the metrics of the epoch so far, the logs of all epochs, and the step, which is the
    place in the data. To go on:

        checkpoints = Checkpoints("runs/a/checkpoints", steps_per_epoch)
        step = checkpoints.restore(model)
        model.fit(
            load(..., start_step=step),
            initial_epoch=step // steps_per_epoch,
            steps_per_epoch=steps_per_epoch,
            callbacks=[checkpoints],
        )

    Under several workers all of them call it, the chief writes, and all read the same folder.

    Args:
        folder: where the files go.
        steps_per_epoch: of the training.
        every_steps: writes one after so many steps too; None only after each epoch.
        keep: how many of the newest files stay.
        monitor: the validation metric whose best file stays too, such as "val_elbo", or several, of which the
            first that is logged counts; None for none. The model declares which direction is better.

    Raises:
        UserError: a number is below 1.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        steps_per_epoch: int,
        every_steps: int | None = None,
        keep: int = 3,
        monitor: str | Sequence[str] | None = None,
    ):
        super().__init__()
        for name, value in (("steps_per_epoch", steps_per_epoch), ("every_steps", every_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}: give 1 or more.")
        self.folder, self.steps_per_epoch, self.every_steps = Path(folder), steps_per_epoch, every_steps
        self.keep = keep
        self.monitor = (monitor,) if isinstance(monitor, str) else tuple(monitor or ())
        # What the header of each file says besides the step.
        self.logs: list[dict[str, float]] = []
        self.best: Best | None = None
        self._restored_step = 0
        self._metrics: np.ndarray | None = None
        self._read_metrics: Callable[[], Tensor] | None = None

    # -- writing --------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: dict | None = None) -> None:
        together = self.model.steps_per_execution
        for name, value in (("steps_per_epoch", self.steps_per_epoch), ("every_steps", self.every_steps)):
            if value and value % together:
                raise UserError(
                    f"{name} is {value}, which isn't a multiple of steps_per_execution={together}, so that no "
                    "checkpoint could be written there: choose numbers that divide."
                )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        if self._metrics is not None:  # Keras has just reset them
            _set_metrics(self.model, self._metrics)
            self._metrics = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        step = self._epoch * self.steps_per_epoch + batch + 1
        due = self.every_steps and step % self.every_steps == 0 and step % self.steps_per_epoch
        if due and step > self._restored_step:
            self._write(step)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self.logs = [*self.logs[:epoch], numbers]
        step = (epoch + 1) * self.steps_per_epoch
        if self.monitor:
            self._note_best(step, numbers)
        self._write(step)

    def _note_best(self, step: int, numbers: dict[str, float]) -> None:
        metric = next((name for name in self.monitor if name in numbers), None)
        if metric is None:
            raise UserError(
                f"There is no {self.monitor[0]!r} to choose the best checkpoint by: "
                f"choose one of {', '.join(numbers)}."
            )
        value = numbers[metric]
        if not math.isfinite(value):
            return
        sign = 1 if self.model.reported(metric).better == "higher" else -1
        if self.best is None or not math.isfinite(self.best["value"]) or sign * value > sign * self.best["value"]:
            self.best = {"step": step, "metric": metric, "value": value}

    def write_now(self, epoch: int, batch: int) -> None:
        """Write one after this batch of this epoch, whether or not it is due; both count from 0."""
        self._write(epoch * self.steps_per_epoch + batch + 1)

    def _write(self, step: int) -> None:
        if self._read_metrics is None:
            self._read_metrics = _metrics_reader(self.model)
        metrics = self._read_metrics().numpy()  # every worker takes part in it
        if not is_chief():
            return
        groups = self.model.training_variables
        arrays = {f"{group}/{i}": _storable(v) for group, found in groups.items() for i, v in enumerate(found)}
        header = {"step": step, "steps_per_epoch": self.steps_per_epoch, "logs": self.logs, "best": self.best}
        with atomic_write(self.folder / f"step_{step:08d}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, header=np.array(json.dumps(header)), metrics=metrics, **arrays)
        self._remove_old()

    def _remove_old(self) -> None:
        best = self.best and f"step_{self.best['step']:08d}.npz"
        for path in checkpoint_files(self.folder)[: -self.keep]:
            if path.name != best:
                path.unlink(missing_ok=True)

    # -- reading --------------------------------------------------------------------------------------------

    def restore(self, model: keras.Model, best: bool = False) -> int:
        """Put the newest state back into a compiled model; return the step that it goes on from.

        A damaged file is named in a warning, and the one before it is taken. Without a file nothing happens, and 0
        is returned.

        Args:
            model: compiled as the one that was saved.
            best: take the best by the monitored metric instead.

        Raises:
            UserError: no file can be read, or it is of another architecture, of other optimizers, or of other
                data. The model is then as it was.
        """
        found = _newest(self.folder)
        if found is None:
            return 0
        path, header, arrays = found
        if best and header["best"]:
            path = self.folder / f"step_{header['best']['step']:08d}.npz"
            header, arrays = _read(path)
        if header["steps_per_epoch"] != self.steps_per_epoch:
            raise UserError(
                f"{path} is of a training with {header['steps_per_epoch']} steps an epoch, but the data now make "
                f"{self.steps_per_epoch}: give the same data and batch size."
            )
        metrics = arrays.pop("metrics")
        _assign(model, path, arrays)
        self.logs, self.best, self._restored_step = header["logs"], header["best"], header["step"]
        in_epoch = header["step"] % self.steps_per_epoch
        model.steps_to_skip = in_epoch
        self._metrics = metrics if in_epoch else None
        return header["step"]


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the finished checkpoints of a folder, oldest first."""
    return numbered(folder, "step_", ".npz")


def _newest(folder: Path) -> tuple[Path, Header, dict[str, np.ndarray]] | None:
    error = None
    for path in reversed(checkpoint_files(folder)):
        try:
            return path, *_read(path)
        except UserError as damaged:
            warnings.warn(f"{damaged} The one before it is taken.", stacklevel=3)
            error = damaged
    if error is not None:
        raise UserError(f"No checkpoint in {folder} can be read: remove that folder to begin anew.") from error
    return None


def _read(path: Path) -> tuple[Header, dict[str, np.ndarray]]:
    kind, advice = "a checkpoint", "remove it"
    found, arrays = read_npz(path, _HEADER, kind, advice)
    header = cast("Header", found)
    with reading(path, kind, advice):
        metrics = arrays.pop("metrics", None)
        if metrics is None or metrics.ndim != 2 or metrics.dtype.kind != "f":
            raise Fault("it has no metrics")
        if not 0 <= header["step"] // max(1, header["steps_per_epoch"]) == len(header["logs"]):
            raise Fault(f"it says of step {header['step']}, but of {len(header['logs'])} epochs")
        check_finite(arrays)
    return header, {**arrays, "metrics": metrics}


def _assign(model: keras.Model, path: Path, arrays: dict[str, np.ndarray]) -> None:
    groups = model.training_variables
    pairs = [(v, f"{group}/{i}") for group, found in groups.items() for i, v in enumerate(found)]
    remedy = "restore it into the model that was trained, compiled in the same way."
    for variable, key in pairs:
        if key not in arrays or arrays[key].shape != tuple(variable.shape):
            saved = f"has the shape {arrays[key].shape}" if key in arrays else "is missing"
            raise UserError(
                f"{variable.path} has the shape {tuple(variable.shape)}, but in {path} it {saved}: {remedy}"
            )
    if len(arrays) > len(pairs):
        raise UserError(
            f"{path} holds {len(arrays)} variables, but the model and its optimizers have only {len(pairs)}: {remedy}"
        )
    for variable, key in pairs:
        variable.assign(arrays[key])


def _storable(variable: keras.Variable) -> np.ndarray:
    """Return a variable's value in a type that NumPy's format knows; bfloat16 fits into float32 exactly."""
    value = keras.ops.convert_to_numpy(variable)
    return value.astype(np.float32) if value.dtype.kind == "V" or value.dtype.name == "bfloat16" else value


def _metric_variables(model: keras.Model) -> list:
    return [v for metric in model.metrics for v in metric.variables]


def _metrics_reader(model: keras.Model) -> Callable[[], Tensor]:
    """Return a function that gives the metrics' sums of each replica: [replicas, numbers]."""
    strategy = model.distribute_strategy

    def own() -> Tensor:
        parts = [tf.reshape(tf.convert_to_tensor(v.value), [-1]) for v in _metric_variables(model)]
        return tf.concat(parts, axis=0)[None]

    return tf.function(lambda: strategy.gather(strategy.run(own), axis=0))


def _set_metrics(model: keras.Model, values: np.ndarray) -> None:
    strategy = model.distribute_strategy
    replicas = strategy.num_replicas_in_sync
    if len(values) != replicas:  # saved on more devices or on fewer: the means stay right
        values = np.repeat(values.sum(axis=0, keepdims=True) / replicas, replicas, axis=0)

    def own() -> None:
        row, start = tf.constant(values)[tf.distribute.get_replica_context().replica_id_in_sync_group], 0
        for variable in _metric_variables(model):
            size = int(np.prod(variable.shape))
            variable.value.assign(tf.reshape(row[start : start + size], variable.shape))
            start += size

    strategy.run(own)
