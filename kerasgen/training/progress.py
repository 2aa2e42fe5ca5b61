"""What a training says while it runs: one bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import keras

if TYPE_CHECKING:
    from rich.progress import Progress

_FIRST = 10  # steps before the first line, which says how long it will take
_EVERY = 100  # steps
_QUIET = 10  # seconds
_Item = TypeVar("_Item")


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole training, with the last epoch's numbers; use it with `fit(..., verbose=0)`.

    Where the output is not a terminal, such as a log file, it prints a line after the first steps, after every 100
    steps and after each epoch, with an estimate of the time that is left.

    Args:
        names: which logs to show.
    """

    def __init__(self, names: tuple[str, ...] = ("loss", "val_loss")):
        super().__init__()
        self.names = names
        self._progress: Progress | None = None
        self._epoch = 0
        self._started: tuple[float, float] | None = None  # when, and after how many epochs

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not sys.stdout.isatty():
            return
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

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        steps = self.params["steps"]
        # The first steps hold what is compiled, and those before an interruption are only counted.
        if not steps or not logs:
            return
        done = self._epoch + (batch + 1) / steps
        if self._started is None:
            self._started = time.monotonic(), done
        elif self._progress is not None:
            self._progress.update(self._task, completed=done)
        elif batch + 1 < steps and ((batch + 1 == _FIRST and not self._epoch) or (batch + 1) % _EVERY == 0):
            self._say(f"epoch {self._epoch + 1}/{self.params['epochs']}, step {batch + 1}/{steps}", done, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        if self._progress is not None:
            self._progress.update(self._task, completed=epoch + 1, numbers=self._numbers(logs))
        else:
            self._say(f"epoch {epoch + 1}/{self.params['epochs']}", epoch + 1, logs)

    def _say(self, where: str, done: float, logs: dict) -> None:
        left = ""
        if self._started and done > self._started[1]:
            began, before = self._started
            rate = (time.monotonic() - began) / (done - before)
            left = f"  about {duration(rate * (self.params['epochs'] - done))} left"
        print(f"{where}{left}  {self._numbers(logs)}".rstrip(), flush=True)

    def _numbers(self, logs: dict) -> str:
        return "  ".join(f"{name} {logs[name]:.4g}" for name in self.names if name in logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        self.close()

    def close(self) -> None:
        """End the bar; needed when `fit` raised, for then Keras calls no `on_train_end`."""
        if self._progress is not None:
            self._progress.stop()


def shown(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """Go through long pieces of work: with a bar on a terminal, elsewhere with a line every ten seconds at most."""
    if sys.stdout.isatty():
        from rich.progress import track

        yield from track(items, what)
        return
    began = said = time.monotonic()
    for i, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - said > _QUIET and i < len(items):
            said = now
            print(f"{what} {i}/{len(items)}  about {duration((now - began) / i * (len(items) - i))} left", flush=True)


def duration(seconds: float) -> str:
    """Return a time in its largest fitting unit, such as "12 minutes"."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
