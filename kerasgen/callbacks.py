"""Keras callbacks: pictures of each epoch, one progress bar, a stop at NaN, the state to go on from."""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.pictures import save_png, side_by_side


class ImageGrid(keras.callbacks.Callback):
    """A picture each epoch of what the model does, from the same noise or the same inputs each time.

    Writes `epoch_0000.png` before training and `epoch_NNNN.png` after each epoch.

    Args:
        folder: where the pictures go.
        inputs: a batch as the model is trained on, to show what becomes of it; None shows generated images.
        n: how many images.
        seed: of the noise.
    """

    def __init__(self, folder: str | os.PathLike, inputs: Any = None, n: int = 64, seed: int = 0):
        super().__init__()
        self.folder, self.inputs, self.n, self.seed = Path(folder), inputs, n, seed

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._draw(0)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._draw(epoch + 1)

    def _draw(self, epoch: int) -> None:
        pictures = self.model.preview(n=self.n, seed=self.seed, inputs=self.inputs)
        save_png(self.folder / f"epoch_{epoch:04d}.png", side_by_side(pictures))


class StopOnNaN(keras.callbacks.Callback):
    """Ends the training with one sentence as soon as a logged loss is NaN or infinite.

    Files that were written before are left as they are: the last good ones.

    Raises:
        UserError: in `fit`, naming the metric, the epoch and the batch.
    """

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        for name, value in (logs or {}).items():
            if not np.isfinite(value):
                raise UserError(
                    f"{name} is {value} in epoch {self._epoch + 1}, batch {batch + 1}, and the training has stopped: "
                    "try a smaller learning rate, or look for NaN in the images."
                )


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole training, with the last epoch's numbers; use it with `fit(..., verbose=0)`.

    Args:
        names: which logs to show.
    """

    def __init__(self, names: tuple[str, ...] = ("loss", "val_loss")):
        super().__init__()
        self.names = names

    def on_train_begin(self, logs: dict | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, TextColumn("{task.fields[numbers]}"))
        self._task = self._progress.add_task("", total=self.params["epochs"], numbers="")
        self._progress.start()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        numbers = "  ".join(f"{name} {logs[name]:.4g}" for name in self.names if name in logs)
        self._progress.update(self._task, completed=epoch + 1, numbers=numbers)

    def on_train_end(self, logs: dict | None = None) -> None:
        self.close()

    def close(self) -> None:
        """End the bar; needed when `fit` raised, for then Keras calls no `on_train_end`."""
        self._progress.stop()


class TrainingState(keras.callbacks.Callback):
    """The whole state of a training, written after each epoch, from which it can go on.

    Use it as `fit(..., initial_epoch=state.restore(model), callbacks=[state])`. The file holds every variable of
    the model (seeds, image pools and counters are among them) and of all its optimizers. The former file stands until
    the new one is complete.

    Args:
        path: the file, such as "runs/a/state.npz": NumPy's format, read without pickle.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        groups = _state_variables(self.model)
        arrays = {f"{group}/{i}": _storable(v) for group, found in groups.items() for i, v in enumerate(found)}
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        header = {"epochs": epoch + 1, "logs": numbers}
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.array(json.dumps(header)), **arrays)

    def restore(self, model: keras.Model) -> int:
        """Put the state back into a compiled model; return how many epochs it has been trained for.

        Without a file nothing happens, and 0 is returned.

        Raises:
            UserError: the file is damaged, or is of another architecture or other optimizers. The model is then
                as it was.
        """
        if not self.path.exists():
            return 0
        header, arrays = self._read()
        groups = _state_variables(model)
        pairs = [(v, f"{group}/{i}") for group, found in groups.items() for i, v in enumerate(found)]
        remedy = "restore it into the model that was trained, compiled in the same way."
        for variable, key in pairs:
            if key not in arrays or arrays[key].shape != tuple(variable.shape):
                saved = f"has the shape {arrays[key].shape}" if key in arrays else "is missing"
                raise UserError(
                    f"{variable.path} has the shape {tuple(variable.shape)}, but in {self.path} it {saved}: {remedy}"
                )
        if len(arrays) > len(pairs):
            raise UserError(
                f"{self.path} holds {len(arrays)} variables, but the model and its optimizers have only "
                f"{len(pairs)}: {remedy}"
            )
        for variable, key in pairs:
            variable.assign(arrays[key])
        return header["epochs"]

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            # NumPy leaves a file open that it can't read, hence the outer `open`.
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            return json.loads(str(arrays.pop("header"))), arrays
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{self.path} can't be read as a training's state ({error}): remove it to begin anew, "
                "or put an intact copy in its place."
            ) from error


def _state_variables(model: keras.Model) -> dict[str, list]:
    """All variables that a training changes, by where they belong."""
    optimizers = getattr(model, "optimizers", None) or [model.optimizer]
    for optimizer in optimizers:
        # An optimizer has no state to put back until it is built, which `fit` does in its first step.
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
    return {"model": model.variables} | {f"optimizer_{i}": o.variables for i, o in enumerate(optimizers)}


def _storable(variable: Any) -> np.ndarray:
    """A variable's value in a type that NumPy's format knows; bfloat16 fits into float32 exactly."""
    value = keras.ops.convert_to_numpy(variable)
    return value.astype(np.float32) if value.dtype.kind == "V" or value.dtype.name == "bfloat16" else value
