"""Pictures that are read and written by rows, and the bar that people see while a plan is carried out."""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import keras
import numpy as np

from kerasgen.errors import UserError
from kerasgen.models.memory import reused_memory
from kerasgen.networks.strips import InMemory, Plan, Rows, Sink, execute, make_plan
from kerasgen.training.progress import duration
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    from rich.progress import Progress

# What a strip takes is counted with what the C library keeps meanwhile: before the next one, so much must be free.
_OF_A_STRIP = 0.5
_QUIET = 30  # seconds between the lines of a log


class Enlarged:
    """A picture, mirrored at the bottom and on the right until it has a size that a network can divide.

    Args:
        picture: by rows.
        height: of the result.
        width: of the result.
        mode: of the border, as NumPy calls it: "symmetric" or "edge".
    """

    def __init__(self, picture: Rows, height: int, width: int, mode: Literal["symmetric", "edge"] = "symmetric"):
        own_height, own_width, channels = picture.shape
        self.shape = (height, width, channels)
        self._picture, self._mode = picture, mode
        self._right = (0, width - own_width)
        self._rows = np.pad(np.arange(own_height), (0, height - own_height), mode=mode)

    def read(self, low: int, high: int) -> np.ndarray:
        wanted = self._rows[low:high]
        first = int(wanted.min())
        rows = self._picture.read(first, int(wanted.max()) + 1)
        if high > self._picture.shape[0]:
            rows = rows[wanted - first]
        if self._right[1]:
            rows = np.pad(rows, [(0, 0), self._right, (0, 0)], mode=self._mode)
        return rows.astype("float32", copy=False)


class Clipped:
    """Pass on what belongs to the picture, and not to its enlargement, in [-1, 1]."""

    def __init__(self, sink: Sink, shape: tuple[int, int, int]):
        self._sink, self._shape = sink, shape

    def write(self, low: int, rows: np.ndarray) -> None:
        rows = rows[: max(0, self._shape[0] - low), : self._shape[1]]
        if len(rows):
            self._sink.write(low, np.clip(rows, -1.0, 1.0))


def run_plan(
    plan: Plan,
    inputs: Sequence[Rows | np.ndarray],
    sinks: Sequence[Sink | None],
    folder: str | os.PathLike | None = None,
    unpacked: int = 0,
) -> list[Tensor | None]:
    """Carry out a plan as `execute` does; show a bar, and say first how much of the disk is used.

    Args:
        plan: by `make_plan`.
        inputs: as for `execute`.
        sinks: the same.
        folder: the same.
        unpacked: bytes of the folder that inputs take once they are read.

    Raises:
        UserError: the disk has too little room.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    folder = folder or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    disk = plan.disk + unpacked
    if disk > free:
        raise UserError(
            f"{_said(disk)} of {folder} are needed for a while, but {_said(free)} are free: "
            "make room there, or give more memory."
        )
    strips = max(way.memory for way in plan.passes)
    with (
        Progress(TextColumn("strips"), BarColumn(), TimeRemainingColumn()) as progress,
        reused_memory(plan.given - _OF_A_STRIP * strips) as give_back,
    ):
        if disk:
            progress.console.print(f"{_said(disk)} of {folder} are used for a while.")
        task = progress.add_task("strips", total=plan.strips)

        said = time.monotonic()

        def on_strip() -> None:
            nonlocal said
            progress.advance(task)
            give_back()
            now = time.monotonic()
            if now - said > _QUIET and not progress.console.is_terminal:
                said = now
                _say(progress)

        return execute(plan, inputs, sinks, folder, on_strip)


def _say(progress: "Progress") -> None:
    """Print what the bar would show, for a log."""
    (task,) = progress.tasks
    left = "" if task.time_remaining is None else f"  about {duration(task.time_remaining)} left"
    progress.console.print(f"strips {task.completed:.0f}/{task.total:.0f}{left}")


def _said(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{-(-count // 10**6)} MB"


def maps_by_strips(network: keras.Model, inputs: Sequence[Rows], memory: int) -> list[np.ndarray]:
    """Return the outputs [height, width, channels] of a functional network whose outputs are maps, in their order.

    Args:
        network: the model.
        inputs: in the order of `network.inputs`, in the values that the network takes.
        memory: bytes that may be taken besides inputs and outputs.

    Raises:
        UserError: a layer can't be computed strip by strip, or the memory or the disk is too small.
    """
    plan = make_plan(network, [picture.shape for picture in inputs], memory)
    results = [InMemory(np.empty(plan.graph.values[value].shape[1:], np.float32)) for value in plan.graph.outputs]
    run_plan(plan, inputs, results)
    return [result.array for result in results]
