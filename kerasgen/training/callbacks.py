"""Keras callbacks: pictures of each epoch, one progress bar, a stop at NaN, the log file.

Under several workers only the chief writes. `kerasgen.training.checkpoints` holds the state to go on from.
"""

import csv
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from kerasgen.drawing import save_png, side_by_side
from kerasgen.errors import Stopped, UserError
from kerasgen.files import atomic_write
from kerasgen.training.checkpoints import Checkpoints
from kerasgen.training.distribute import is_chief, worker_count
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    from rich.progress import Progress


class ImageGrid(keras.callbacks.Callback):
    """A picture each epoch of what the model does, from the same noise or the same inputs each time.

    Writes `epoch_0000.png` before training and `epoch_NNNN.png` after each epoch.

    Args:
        folder: where the pictures go.
        inputs: a batch as the model is trained on, to show what becomes of it; None shows generated images.
        n: how many images.
        seed: of the noise.
    """

    def __init__(
        self, folder: str | os.PathLike, inputs: Mapping[str, Tensor] | None = None, n: int = 64, seed: int = 0
    ):
        super().__init__()
        self.folder, self.inputs, self.n, self.seed = Path(folder), inputs, n, seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # A training that goes on from within its first epoch has drawn it already.
        if epoch == 0 and not self.model.steps_to_skip:
            self._draw(0)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._draw(epoch + 1)

    def _draw(self, epoch: int) -> None:
        if not is_chief():
            return
        pictures = self.model.preview(n=self.n, seed=self.seed, inputs=self.inputs)
        save_png(self.folder / f"epoch_{epoch:04d}.png", side_by_side(pictures))


class StopOnNaN(keras.callbacks.Callback):
    """Ends the training with one sentence as soon as a logged loss is NaN or infinite, or a validation's is NaN.

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

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        for name, value in (logs or {}).items():
            if np.isnan(value):
                raise UserError(
                    f"{name} is NaN after epoch {epoch + 1}, and the training has stopped: look for NaN in the "
                    "images of the validation, or try a smaller learning rate."
                )


class StopWhenAsked(keras.callbacks.Callback):
    """Ends the training soon after SIGTERM, with a checkpoint; `fit` must run inside `listening`.

    It is looked for after each batch. In a validation, which no checkpoint goes on from, the end of it is waited
    for. List it behind `checkpoints`.

    Args:
        checkpoints: writes the state.

    Raises:
        Stopped: in `fit`, saying what was written.
    """

    def __init__(self, checkpoints: Checkpoints):
        super().__init__()
        self._checkpoints, self._asked, self._epoch = checkpoints, threading.Event(), 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to SIGTERM, where this is the main thread, which alone may, and the only worker, which alone can."""
        if threading.current_thread() is not threading.main_thread() or worker_count() > 1:
            yield
            return
        former = signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, former)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        last = (
            batch + 1 == self._checkpoints.steps_per_epoch
        )  # on_epoch_end comes next, with the validation's numbers
        if self._asked.is_set() and not last and not self.model.steps_to_skip:
            self._checkpoints.write_now(self._epoch, batch)
            self._stop(f"batch {batch + 1} of epoch {self._epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._asked.is_set():
            self._stop(f"epoch {epoch + 1}")

    def _stop(self, after: str) -> None:
        raise Stopped(
            f"The training was asked to end (SIGTERM) and has stopped after {after}, of which "
            f"{self._checkpoints.folder} holds a checkpoint: go on with the same command and --resume."
        )


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole training, with the last epoch's numbers; use it with `fit(..., verbose=0)`.

    Args:
        names: which logs to show.
    """

    def __init__(self, names: tuple[str, ...] = ("loss", "val_loss")):
        super().__init__()
        self.names = names
        self._progress: Progress | None = None

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
        if self._progress is not None:
            self._progress.update(self._task, completed=epoch + 1, numbers=numbers)

    def on_train_end(self, logs: dict | None = None) -> None:
        self.close()

    def close(self) -> None:
        """End the bar; needed when `fit` raised, for then Keras calls no `on_train_end`."""
        if self._progress is not None:
            self._progress.stop()


class LogFile(keras.callbacks.Callback):
    """Writes the logs of all epochs into a CSV file, anew and atomically after each epoch.

    Args:
        path: such as "runs/a/log.csv".
        before: logs of the epochs before this `fit`, of a training that goes on.
    """

    def __init__(self, path: str | os.PathLike, before: Sequence[dict[str, float]] = ()):
        super().__init__()
        self.path, self.rows = Path(path), list(before)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.rows.append({name: float(value) for name, value in (logs or {}).items()})
        self.write()

    def write(self) -> None:
        """Write the rows that there are."""
        if not is_chief() or not self.rows:
            return
        names = sorted({name for row in self.rows for name in row})
        with atomic_write(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *names])
            writer.writeheader()
            writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(self.rows))
