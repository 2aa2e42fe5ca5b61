"""The report of a training: one page that says whether it is healthy, and why, rewritten after each epoch."""

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from kerasgen import pages
from kerasgen.commands.settings import settings_of_run
from kerasgen.data.reading import read_picture
from kerasgen.data.sources.source import Fit
from kerasgen.drawing import side_by_side
from kerasgen.errors import Stopped, UserError
from kerasgen.models import Distiller
from kerasgen.presets import Preset
from kerasgen.runs import RunConfig, RunFolder
from kerasgen.training.distribute import is_chief
from kerasgen.training.health import Answers, Verdict, judge
from kerasgen.typing import Batch, Config

_MOST_EPOCHS = 40  # pictures of them in a page
_MOST_EXAMPLES, _LEAST_EXAMPLES, _MOST_PIXELS = 64, 8, 2**18
_SHOWN = 4  # of the worst and of the best


class Report(keras.callbacks.Callback):
    """Writes report.html and health.json into a run folder after each epoch.

    It draws no random numbers and changes nothing of the model: a training with it equals one without, to the bit.
    List it behind `ImageGrid`, whose pictures it shows.

    Example:
        report = Report("runs/digits", validation=load("digits", split="test"))
        with report.following():
            vae.fit(data, epochs=5, callbacks=[ImageGrid("runs/digits/pictures"), report])

    Args:
        run: the folder.
        validation: batches, of which the first 8 to 64 examples are looked at, by their size; None leaves out all
            that needs pictures.
        before: logs of the epochs before this `fit`, of a training that goes on.
    """

    def __init__(
        self,
        run: str | os.PathLike,
        validation: Iterable[Batch] | None = None,
        before: Sequence[dict[str, float]] = (),
    ):
        super().__init__()
        self.run, self.rows = RunFolder(run), list(before)
        self._validation, self._batches = validation, list[Batch]()
        self._pictures: dict[str, str] = {}

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self._validation is not None and not self._batches and is_chief():
            self._batches = _first_examples(self._validation)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.rows.append({name: float(value) for name, value in (logs or {}).items()})
        self.write()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Write the report also when a training ends by a mistake, such as a loss that is NaN."""
        try:
            yield
        except Stopped:
            raise
        except UserError as error:
            self.write(failure=str(error))
            raise

    def write(self, failure: str | None = None) -> None:
        """Write the report as things are.

        Args:
            failure: the sentence that the training was ended by.

        Raises:
            UserError: the folder can't be written.
        """
        if not is_chief() or self.params is None:
            return
        planned = int(self.params["epochs"])
        with _unchanged(self.model):
            answers = None if failure else _answers(self.model, self._batches)
        verdict = judge(self.rows, planned, self.model.signs, answers, failure)
        config = self.run.config() if self.run.exists() else None
        self._see_pictures()
        page = _page(self.run, verdict, self.rows, planned, self._pictures, answers, config)
        reasons = [{"kind": r.kind, "text": r.text, "grave": r.grave} for r in verdict.reasons]
        health = {"state": verdict.state, "summary": verdict.summary, "reasons": reasons, "epochs": len(self.rows)}
        self.run.write_report(page, health)

    def _see_pictures(self) -> None:
        """Bring the pictures of the epochs up to date, each read once; of many, some evenly spaced."""
        files = {f"Epoch {int(file.stem[6:])}": file for file in self.run.epoch_pictures()}
        chosen = list(files)
        if len(chosen) > _MOST_EPOCHS:
            places = np.unique(np.linspace(0, len(chosen) - 1, _MOST_EPOCHS).round().astype(int))
            chosen = [chosen[i] for i in places]
        known = self._pictures
        self._pictures = {name: known.get(name) or picture_of(files[name]) for name in chosen}


def picture_of(file: Path) -> str:
    """Return a picture of a run folder, which anybody may have made, as a data URI."""
    return pages.picture(read_picture(file, Fit("natural"), 3))


def _first_examples(validation: Iterable[Batch]) -> list[Batch]:
    """Return the first batches, until they hold enough examples; large pictures are looked at less often."""
    batches, examples = [], 0
    for batch in validation:
        size, height, width, _ = max((np.shape(part) for part in keras.tree.flatten(batch)), key=len)
        batches.append(batch)
        examples += size
        if examples >= min(_MOST_EXAMPLES, max(_LEAST_EXAMPLES, _MOST_PIXELS // (height * width))):
            break
    return batches


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Put back what answers change of a model: the seeds of a generator that draws at test too."""
    before = [np.array(variable) for variable in model.non_trainable_variables]
    yield
    for variable, value in zip(model.non_trainable_variables, before, strict=True):
        if not np.array_equal(np.array(variable), value, equal_nan=value.dtype.kind == "f"):
            variable.assign(value)


def _answers(model: keras.Model, batches: Sequence[Batch]) -> Answers | None:
    """Return the answers to all batches together, of one size; None where the model gives none."""
    found = [answers for batch in batches if (answers := model.answers(batch)) is not None]
    if not found:
        return None
    found = [answers for answers in found if answers.made.shape[1:] == found[0].made.shape[1:]]

    def joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        return np.concatenate([part for part in parts if part is not None]) if parts[0] is not None else None

    titles = found[0].shown
    return Answers(
        shown={title: np.concatenate([answers.shown[title] for answers in found]) for title in titles},
        made=np.concatenate([answers.made for answers in found]),
        real=np.concatenate([answers.real for answers in found]),
        right=joined([answers.right for answers in found]),
        given=joined([answers.given for answers in found]),
        returned=joined([answers.returned for answers in found]),
        alike=found[0].alike,
        label_gain=joined([answers.label_gain for answers in found]),
    )


# -- the page -----------------------------------------------------------------------------------------------


def _page(
    run: RunFolder,
    verdict: Verdict,
    rows: Sequence[Mapping[str, float]],
    planned: int,
    pictures: Mapping[str, str],
    answers: Answers | None,
    config: RunConfig | None,
) -> str:
    name = run.path.resolve().name
    what = f"{config['preset']}, a {config['model']}; " if config else ""
    parts = [
        f"<h1>{pages.text(name)}</h1>",
        f'<p class="soft">{pages.text(what)}epoch {len(rows)} of {planned}</p>',
        pages.verdict_box(verdict.state, verdict.summary, (reason.text for reason in verdict.reasons)),
        "<h2>Curves</h2>",
        curves_of({"": rows}) or "<p>No epoch is finished yet.</p>",
    ]
    if pictures:
        parts += ["<h2>Pictures of each epoch</h2>", pages.slider(pictures)]
    if answers is not None:
        parts += _examples(answers)
    if config is not None:
        command = "\n".join(repeating(run, config))
        parts += ["<h2>The command that repeats it</h2>", f"<pre>{pages.text(command)}</pre>"]
        parts += ["<h2>Configuration</h2>", pages.table(flat(config))]
    return pages.page(f"{name}: {verdict.summary}", *parts)


def curves_of(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return a plot for each number that was logged: of one run training and validation, else a line for each run.

    Args:
        runs: the logs of each epoch, by the run's name; "" for the only one.
    """
    names = dict.fromkeys(name for rows in runs.values() for row in rows for name in row)
    alone = list(runs) == [""]
    plots = {name.removeprefix("val_") if alone else name: None for name in names}
    found = []
    for plot in plots:
        kinds = {"training": plot, "validation": f"val_{plot}"} if alone else dict.fromkeys(runs, plot)
        lines = []
        for color, (label, name) in enumerate(kinds.items()):
            rows = runs["" if alone else label]
            points = [(epoch, row[name]) for epoch, row in enumerate(rows, 1) if name in row]
            lines += [pages.Line(label, points, color)] if points else []
        found.append(pages.curves(plot.replace("_", " "), lines))
    return f'<div class="curves">{"".join(found)}</div>' if found else ""


def _examples(answers: Answers) -> list[str]:
    """Return the worst and the best validation examples, with their errors."""
    errors = np.nan_to_num(answers.errors, nan=np.inf)
    order, count = np.argsort(errors, kind="stable"), min(_SHOWN, len(errors))
    parts = ["<h2>Worst and best validation examples</h2>"]
    for title, places in (("Worst", order[::-1][:count]), ("Best", order[:count])):
        sheet = side_by_side({name: np.nan_to_num(images[places]) for name, images in answers.shown.items()})
        listed = ", ".join(f"{error:.3f}" for error in errors[places])
        caption = f"{title} of {len(errors)}; mean absolute errors, of pictures from 0 to 1: {listed}"
        parts.append(pages.figure(pages.picture(sheet), caption))
    return parts


def flat(config: Mapping[str, Config], prefix: str = "") -> dict[str, Config]:
    """Return nested values by dotted names."""
    found: dict[str, Config] = {}
    for name, value in config.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {prefix + name: value}
        found |= inner
    return found


def repeating(run: RunFolder, config: RunConfig) -> list[str]:
    """Return the commands that train a run again: one, and one for each time that it was made longer."""
    whole = run.path.resolve()
    again = run.path.with_name(f"{whole.name}_again") if run.path.name else whole.with_name(f"{whole.name}_again")
    data = config["data"]
    given = [("--data", data.get("source")), ("--data-a", data.get("source_a")), ("--data-b", data.get("source_b"))]
    options = config.get("options", {})
    given += [(f"--{name}", options.get(name)) for name in ("precision", "strategy")]
    given += [("--from", config.get("start")), ("--data-dir", data.get("data_dir"))]
    words = [*_begun(run, config), "--seed", str(config["seed"])]
    words += [word for option, value in given if value is not None for word in (option, str(value))]
    words += ["--jit"] * bool(options.get("jit")) + ["--download"] * bool(data.get("download"))
    # What begins with a dash would be taken for an option.
    words += ["--output", f"./{again}" if str(again).startswith("-") else str(again)]
    stages = config.get("stages") or [{"epochs": config["epochs"]}]
    commands = []
    for i, stage in enumerate(stages):
        further = ["--resume", "--schedule", str(stage["schedule"])] if i else []
        commands.append(shlex.join([*words, "--epochs", str(stage["epochs"]), *further]))
    return commands


def _begun(run: RunFolder, config: RunConfig) -> list[str]:
    """Return the beginning of the command: what is trained, and how it is set."""
    if config["model"] != Distiller.__name__ or isinstance(config["config"]["teacher"], str):
        return ["kerasgen", "train", config["preset"], "--config", str(run.config_file)]
    # A student's preset is its teacher, whose settings are others.
    settings = settings_of_run(config, Distiller, Preset("", {}, config["data"], {"epochs": config["epochs"]}))
    taken = {name: value for name, value in settings.items() if name not in ("recipe.epochs", "direction", "teacher")}
    words = ["kerasgen", "distill", config["preset"], "--direction", config["config"]["direction"]]
    return [*words, *(word for name, value in taken.items() for word in ("--set", f"{name}={json.dumps(value)}"))]
