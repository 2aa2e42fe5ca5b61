"""Keras callbacks: pictures of each epoch, a stop at NaN or when asked, the log file.

Under several workers only the chief writes. `kerasgen.training.checkpoints` holds the state to go on from.
"""

import csv
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import keras
import numpy as np

from kerasgen.drawing import save_png, side_by_side
from kerasgen.errors import Stopped, UserError
from kerasgen.files import atomic_write
from kerasgen.training.checkpoints import Checkpoints
from kerasgen.training.distribute import is_chief, worker_count
from kerasgen.typing import Tensor


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
    """Ends the training soon after SIGTERM or Ctrl-C, with a checkpoint; `fit` must run inside `listening`.

    It is looked for after each batch. In a validation, which no checkpoint goes on from, the end of it is waited
    for. A second Ctrl-C doesn't wait. List it behind `checkpoints`.

    Args:
        checkpoints: writes the state.

    Raises:
        Stopped: in `fit`, saying what was written.
    """

    def __init__(self, checkpoints: Checkpoints):
        super().__init__()
        self._checkpoints, self._epoch = checkpoints, 0
        self._asked: signal.Signals | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to signals, where this is the main thread, which alone may, and the only worker, which alone can."""
        if threading.current_thread() is not threading.main_thread() or worker_count() > 1:
            yield
            return
        former = {kind: signal.signal(kind, self._ask) for kind in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        except KeyboardInterrupt:
            folder = self._checkpoints.folder
            kept = any(folder.glob("step_*.npz"))
            how = f"go on from the last checkpoint in {folder} with the same command and --resume"
            raise Stopped(
                f"The training was stopped at once in epoch {self._epoch + 1}: "
                f"{how if kept else 'there is no checkpoint yet, so begin it again'}.",
                signal.SIGINT,
            ) from None
        finally:
            for kind, handler in former.items():
                signal.signal(kind, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = signal.Signals(number)
        if number == signal.SIGINT:
            print("\nStopping after this step, with a checkpoint; Ctrl-C again stops at once.", file=sys.stderr)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        last = (
            batch + 1 == self._checkpoints.steps_per_epoch
        )  # on_epoch_end comes next, with the validation's numbers
        if self._asked and not last and not self.model.steps_to_skip:
            self._checkpoints.write_now(self._epoch, batch)
            self._stop(f"batch {batch + 1} of epoch {self._epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._asked:
            self._stop(f"epoch {epoch + 1}")

    def _stop(self, after: str) -> None:
        assert self._asked is not None  # or nobody wants to stop
        by = "Ctrl-C" if self._asked is signal.SIGINT else self._asked.name
        raise Stopped(
            f"The training was asked to end ({by}) and has stopped after {after}, of which "
            f"{self._checkpoints.folder} holds a checkpoint: go on with the same command and --resume.",
            self._asked,
        )


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
