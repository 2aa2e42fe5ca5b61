"""Students of several sizes side by side: what each answers, how long it takes, and how large it is as a file."""

import os
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kerasgen import values
from kerasgen.commands.distill import distill
from kerasgen.commands.ship import export_each, shipments
from kerasgen.data import LOADERS
from kerasgen.errors import UserError
from kerasgen.models import Distiller
from kerasgen.models.pair_tasks import TASKS
from kerasgen.presets import worded
from kerasgen.runs import RunFolder, write_json
from kerasgen.typing import Config

if TYPE_CHECKING:
    from kerasgen.export.gate.process import FreshProcess

HEAD = ("TFLite", "dB", "ms, 1 thread", "bytes", "MAC", "front")
_VARIANTS = ("float32", "dynamic_int8")
_MOST = 200  # held-out pictures
_ROUNDS = 10
_SIGNATURE, _INPUT = "serving_default", "image"  # as all generators of this zoo call it


@dataclass(frozen=True)
class Point:
    """One student as one TFLite file, which takes and gives floats.

    Attributes:
        value: of the setting that is swept.
        variant: "float32" or "dynamic_int8".
        psnr: in dB, of the file's answers to held-out pictures.
        milliseconds: the median for one of these pictures, on one thread.
        bytes: of the file.
        macs: multiply-accumulates of a picture of the training size.
        run: the student's run folder.
        file: the artifact.
        on_front: whether no other point is as good in PSNR, time and bytes, and better in one.
    """

    value: object
    variant: str
    psnr: float
    milliseconds: float
    bytes: int
    macs: int
    run: str
    file: str
    on_front: bool = False


@dataclass(frozen=True)
class Sweep:
    """What a sweep has measured.

    Attributes:
        setting: the name of what differs.
        against: what the PSNR is to: "the truth" where the data knows it, else "the teacher's answers".
        teacher_psnr: the teacher's own, in dB; None where nobody knows the truth.
        pictures: how many were held out, 200 at most.
        points: by value and variant.
        refused: why a file is missing, in a sentence each.
    """

    setting: str
    against: str
    teacher_psnr: float | None
    pictures: int
    points: tuple[Point, ...]
    refused: tuple[str, ...]

    @property
    def caption(self) -> str:
        """What the table of its points shows."""
        own = "" if self.teacher_psnr is None else f" (the teacher's own: {self.teacher_psnr:.2f})"
        return (
            f"dB of the files' answers to {self.pictures} held-out pictures, against {self.against}{own}; "
            "*: none is as good in dB, ms and bytes, and better in one"
        )

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield texts of each point, in the order of `HEAD` behind the setting's name."""
        for p in self.points:
            numbers = (f"{p.psnr:.2f}", f"{p.milliseconds:.2f}", f"{p.bytes:,}", worded(p.macs))
            yield str(p.value), p.variant, *numbers, "*" if p.on_front else ""


def sweep(
    teacher: str | os.PathLike,
    output: str | os.PathLike,
    setting: str,
    choices: Sequence[object],
    *,
    resume: bool = False,
    settings: Mapping[str, object] | None = None,
    **training: Config,
) -> Sweep:
    """Train a student for each value of a setting, one after the other, and measure them as TFLite files.

    Args:
        teacher: see `distill`.
        output: a folder, for a run folder of each student, the files, and sweep.json.
        setting: such as "filters"; see `distill`.
        choices: two values or more.
        resume: go on with a sweep that stands in the folder.
        settings: of all students.
        **training: further arguments of `distill`.

    Raises:
        UserError: there are too few choices, two are the same, or as `distill`.
    """
    folder, settings = values.path("The folder of the sweep", output), dict(settings or {})
    runs = [RunFolder(folder / _named(setting, value)) for value in choices]
    if len({run.path for run in runs}) < max(2, len(choices)):
        raise UserError(f"{setting} is swept over {list(choices)}: give two values or more, each once.")
    if setting in settings:
        raise UserError(f"{setting} is both set and swept: leave one of them out.")
    for run in runs:
        run.check(resume and run.exists())
    for run, value in zip(runs, choices, strict=True):
        distill(teacher, run.path, resume=run.exists(), settings={**settings, setting: value}, **training)
    measured = _measured(setting, list(zip(choices, runs, strict=True)))
    write_json(folder / "sweep.json", asdict(measured))
    return measured


def marked(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points with the Pareto front marked: fewer milliseconds and bytes are better, and more dB."""

    def beats(one: Point, other: Point) -> bool:
        ours, theirs = ((p.milliseconds, p.bytes, -p.psnr) for p in (one, other))
        return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))

    return tuple(replace(p, on_front=not any(beats(other, p) for other in points)) for p in points)


def timed(processes: "Sequence[FreshProcess]", picture: np.ndarray, rounds: int) -> list[float]:
    """Return the median milliseconds of each, which take turns, so that a busy moment falls on all of them.

    Args:
        processes: of artifacts that take an "image".
        picture: [1, height, width, channels].
        rounds: how often each runs, after one run that doesn't count.
    """
    taken: list[list[float]] = [[] for _ in processes]
    for warm in [True] + [False] * rounds:
        for times, process in zip(taken, processes, strict=True):
            times += process.time(_SIGNATURE, {_INPUT: picture}, repeats=1)[: 0 if warm else 1]
    return [1000 * statistics.median(times) for times in taken]


def _named(setting: str, value: object) -> str:
    return re.sub(r"[^\w.-]+", "_", f"{setting}_{value}").strip("_")


def _measured(setting: str, students: Sequence[tuple[object, RunFolder]]) -> Sweep:
    from kerasgen.export import imported_once
    from kerasgen.export.gate.process import FreshProcess

    model = students[0][1].model()
    assert isinstance(model, Distiller)  # `distill` has just made it
    batches, truth = _held_out(model, students[0][1].data())
    points = []
    with ExitStack() as stack:
        stack.enter_context(imported_once())
        files, refused = _written(setting, students)
        processes = [stack.enter_context(FreshProcess("tflite", file.path, 1)) for file in files]
        times = timed(processes, batches[0]["a"][:1], _ROUNDS)
        for file, process, ms in zip(files, processes, times, strict=True):
            psnr = TASKS[model.task].score(partial(_answers, process), batches)["psnr"]
            size, run = file.path.stat().st_size, str(file.run.path)
            points.append(Point(file.value, file.variant, psnr, ms, size, file.macs, run, str(file.path)))
    teacher_psnr = TASKS[model.task].score(model.teacher_answers, batches)["psnr"] if truth else None
    against = "the truth" if truth else "the teacher's answers"
    pictures = sum(len(batch["a"]) for batch in batches)
    return Sweep(setting, against, teacher_psnr, pictures, marked(points), tuple(refused))


def _held_out(model: Distiller, arguments: Mapping[str, Config]) -> tuple[list[dict[str, np.ndarray]], bool]:
    """Return batches of held-out pictures and of what should become of them, and whether that is the truth."""
    loader = model.loader_for(arguments)
    assert loader is not None  # the student was trained by it
    batches: list[dict[str, np.ndarray]] = []
    for batch in LOADERS[loader.name](split="test", **arguments):
        batches.append({name: value.numpy() for name, value in batch.items()})
        if sum(len(kept["a"]) for kept in batches) >= _MOST:
            break
    if "b" in batches[0]:
        return batches, True
    return [{"a": batch["a"], "b": model.teacher_answers(batch["a"])} for batch in batches], False


class _File(NamedTuple):
    """A student in one variant."""

    value: object
    variant: str
    macs: int
    run: RunFolder
    path: Path


def _written(setting: str, students: Sequence[tuple[object, RunFolder]]) -> tuple[list[_File], list[str]]:
    """Write the files of all students, and return a sentence for each that the gate refuses."""
    files, refused = [], []
    for value, run in students:
        macs = next(iter(run.model().costs().values())).macs
        (shipment,) = shipments(run.path, floats=True)
        for variant in _VARIANTS:
            paths, failed = export_each(shipment, run.path / "files", [("tflite", variant)])
            files += [_File(value, variant, macs, run, path) for path in paths]
            refused += [f"{setting}={value}, {variant}: {error}" for error in failed.values()]
    return files, refused


def _answers(process: "FreshProcess", pictures: np.ndarray) -> np.ndarray:
    (answers,) = process.run(_SIGNATURE, {_INPUT: pictures}).values()
    return np.clip(answers, -1.0, 1.0)
