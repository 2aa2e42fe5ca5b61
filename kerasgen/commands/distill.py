"""Distillation from the command line: a trained translator's answers become a small network's training."""

import inspect
import os
from collections.abc import Mapping, Sequence

from kerasgen.commands.options import Options
from kerasgen.commands.train import Recipe, Run, train
from kerasgen.data import LOADERS
from kerasgen.errors import UserError, a_kind
from kerasgen.models import Distiller, GenerativeModel, presets
from kerasgen.models.declarations import Teacher
from kerasgen.models.paired import GENERATORS
from kerasgen.presets import Preset, PresetFolder
from kerasgen.runs import RunFolder, data_of, load_model
from kerasgen.typing import Config

_EPOCHS = 20  # of a student whose teacher doesn't say for how long it was trained
_LEARNING_RATE = 2e-3


def distill(
    teacher: str | os.PathLike,
    output: str | os.PathLike,
    data: str | tuple[str, str] | None = None,
    direction: str = "a2b",
    epochs: int | Sequence[int] | None = None,
    seed: int = 0,
    resume: bool = False,
    options: Options | None = None,
    settings: Mapping[str, object] | None = None,
    schedule: str | None = None,
    start: str | None = None,
    overwrite: bool = False,
) -> Run:
    """Train a small network on a trained translator's answers, and write a run folder like any other.

    The student is a network of the teacher's kind, with separable blocks where the kind has them. Nothing but
    pictures that the teacher takes is needed.

    Args:
        teacher: a run folder of a translator, or a preset with trained weights.
        output: the run folder of the student.
        data: a source of pictures, or two whose pairs tell the truth too; None takes the teacher's data.
        direction: of a teacher that has two.
        epochs, seed, resume, options, schedule, start, overwrite: see `train`; epochs are the teacher's own by
            default.
        settings: of the student's network by name, such as {"filters": 16}, and of the training, such as
            {"lambda_adversarial": 0.1, "data.batch_size": 8}.

    Raises:
        UserError: there is no such teacher or direction, or an argument doesn't fit; see `train`.

    Example:
        distill("cyclegan_digits_ink", "runs/small_ink", epochs=1, settings={"filters": 8})
    """
    RunFolder(output).check(resume, overwrite)
    model = load_model(teacher)
    known = model.teachers() if isinstance(model, GenerativeModel) else {}
    if not known:
        raise UserError(
            f"{teacher} holds {a_kind(model)}, which no student can learn from: give a run or a preset of a "
            "model that translates."
        )
    if direction not in known:
        raise UserError(f"{teacher} knows no direction {direction!r}: choose one of {', '.join(known)}.")
    assert isinstance(model, GenerativeModel)  # or nothing would be known
    settings = dict(settings or {})
    if "teacher" in settings:
        raise UserError(f"The teacher is {str(teacher)!r} already: leave it out of the settings.")
    config = _student(known[direction], direction, settings)
    recipe = {"epochs": _epochs(str(teacher)), "learning_rate": _LEARNING_RATE}
    preset = Preset("a student", config, _data(str(teacher), model, known[direction]), recipe)
    return train(
        Recipe(str(teacher), Distiller, preset),
        output,
        data,
        epochs,
        seed,
        overwrite,
        resume=resume,
        options=options,
        settings=settings,
        schedule=schedule,
        start=start,
    )


def _student(teacher: Teacher, direction: str, settings: dict[str, object]) -> dict[str, Config]:
    """Return arguments of a `Distiller`; those of the student's network are taken out of the settings."""
    kind = str(settings.get("generator_type", teacher.generator_type))
    if kind not in GENERATORS:
        raise UserError(f"generator_type is {kind!r}: choose one of {', '.join(GENERATORS)}.")
    taken = inspect.signature(GENERATORS[kind]).parameters.keys() - {"name"}
    options = dict(teacher.generator_options) if kind == teacher.generator_type else {}
    options |= {"separable": True} if "separable" in taken else {}
    options |= {name: settings.pop(name) for name in list(settings) if name in taken}
    return {
        "teacher": teacher.network,
        "generator_type": kind,
        "generator_options": options,
        "discriminator": teacher.discriminator,
        "conditional": teacher.conditional,
        "adversarial_loss": teacher.adversarial_loss,
        "task": teacher.task,
        "direction": direction,
    }


def _data(path: str, model: GenerativeModel, teacher: Teacher) -> dict[str, Config]:
    """Return the arguments of a student's loader: those of the teacher's, or of its inputs alone."""
    found = data_of(path) or {}
    if teacher.source is None:
        return found
    channels = {"channels": model.picture_shape[2]}
    taken = inspect.signature(LOADERS["load_inputs"]).parameters
    alone = {name: value for name, value in found.items() if name in taken and name != "source"} | channels
    return alone | ({"source": found[teacher.source]} if teacher.source in found else {})


def _epochs(path: str) -> int:
    if RunFolder(path).exists():
        return RunFolder(path).config()["epochs"]
    if PresetFolder(path).exists():
        return PresetFolder(path).metadata().get("recipe", {}).get("epochs", _EPOCHS)
    return presets()[path][1].recipe["epochs"] if path in presets() else _EPOCHS
