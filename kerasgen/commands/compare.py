"""Runs side by side: their verdicts, last numbers, curves, pictures, and the settings in which they differ."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasgen import pages
from kerasgen.commands.report import curves_of, flat, picture_of
from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.models import model_named
from kerasgen.models.declarations import Better
from kerasgen.runs import Health, RunConfig, RunFolder

_MOST = 6  # runs, for as many colors
# Where a run lies, and how and when it was made, is not a setting.
_NOT_SETTINGS = ("layout", "config.name", "git_commit", "versions.", "options.keep", "options.checkpoint_steps")


@dataclass(frozen=True)
class Compared:
    """One of the runs.

    Attributes:
        name: of the folder, or the whole path where two have one name.
        config: how it was trained.
        rows: the logs of each epoch.
        health: its verdict; None for a run of a version that gave none.
        picture: the newest of its epochs; None without.
    """

    name: str
    config: RunConfig
    rows: Sequence[Mapping[str, float]]
    health: Health | None
    picture: Path | None

    @property
    def verdict(self) -> str:
        """The verdict's sentence."""
        return self.health["summary"] if self.health else "Nothing is said of its health: an earlier version made it."


def compare(runs: Sequence[str | os.PathLike], output: str | os.PathLike) -> list[Compared]:
    """Write a page with runs side by side.

    Args:
        runs: 2 to 6 run folders.
        output: the HTML file.

    Raises:
        UserError: there are too few or too many, one is not a run folder, or the page can't be written.

    Example:
        compare(["runs/digits", "runs/digits_beta_4"], "runs/compare.html")
    """
    if not 2 <= len(runs) <= _MOST:
        raise UserError(f"{len(runs)} run{'s' * (len(runs) != 1)} can't be compared: give 2 to {_MOST} run folders.")
    folders = [RunFolder(run) for run in runs]
    short = [folder.path.resolve().name for folder in folders]
    names = short if len(set(short)) == len(short) else [str(folder.path) for folder in folders]
    if len(set(names)) < len(names):
        raise UserError("The same run is given twice: give each run folder once.")
    found = [_read(name, folder) for name, folder in zip(names, folders, strict=True)]
    with atomic_write(output) as temporary:
        temporary.write_text(_page(found), encoding="utf-8")
    return found


def _read(name: str, run: RunFolder) -> Compared:
    pictures = sorted(run.pictures.glob("epoch_[0-9]*.png"))
    return Compared(name, run.config(), run.log(), run.health(), pictures[-1] if pictures else None)


def _page(runs: Sequence[Compared]) -> str:
    parts = ["<h1>Runs side by side</h1>", '<div class="runs">']
    for run in runs:
        state, reasons = ("", []) if run.health is None else (run.health["state"], run.health["reasons"])
        box = pages.verdict_box(state, run.verdict, (str(reason["text"]) for reason in reasons))
        said = f"{run.config.get('preset')}, epoch {len(run.rows)} of {run.config.get('epochs')}"
        parts.append(f'<div><h2>{pages.text(run.name)}</h2><p class="soft">{pages.text(said)}</p>{box}</div>')
    parts += ["</div>", "<h2>After the last epoch</h2>", _numbers(runs)]
    parts += ["<h2>Curves</h2>", curves_of({run.name: run.rows for run in runs})]
    shown = [pages.figure(picture_of(run.picture), run.name) for run in runs if run.picture is not None]
    if shown:
        parts += ["<h2>Newest pictures</h2>", f'<div class="runs">{"".join(shown)}</div>']
    parts += ["<h2>Settings that differ</h2>", _differences(runs)]
    return pages.page(f"{', '.join(run.name for run in runs)}: side by side", *parts)


def _numbers(runs: Sequence[Compared]) -> str:
    """Return a table of the last epoch's numbers, the best of each in bold where one direction is better."""
    last = [run.rows[-1] if run.rows else {} for run in runs]
    rows = []
    for name in dict.fromkeys(name for row in last for name in row):
        values = [row.get(name) for row in last]
        best = _best(name, values, runs)
        cells = ["–" if value is None else f"{value:.4g}" for value in values]
        marked = [f"<b>{cell}</b>" if i in best else cell for i, cell in enumerate(cells)]
        rows.append([pages.text(name.replace("_", " ")), *marked])
    return pages.grid_table(["", *(run.name for run in runs)], rows)


def _best(name: str, values: Sequence[float | None], runs: Sequence[Compared]) -> set[int]:
    """Return the places of the best value; none where the runs' models don't agree which direction is better."""
    directions = {_better(name, run) for run, value in zip(runs, values, strict=True) if value is not None}
    numbers = [value for value in values if value is not None]
    if len(directions) != 1 or len(numbers) < 2 or None in directions:
        return set()
    best = min(numbers) if directions == {"lower"} else max(numbers)
    return {i for i, value in enumerate(values) if value == best}


def _better(name: str, run: Compared) -> Better | None:
    model_class = model_named(run.config.get("model", ""))
    reports = {reported.name: reported.better for reported in model_class.reports}
    return reports.get(name.removeprefix("val_"))


def _differences(runs: Sequence[Compared]) -> str:
    settings = [flat(run.config) for run in runs]
    names = dict.fromkeys(name for of_run in settings for name in of_run if not name.startswith(_NOT_SETTINGS))
    rows = []
    for name in names:
        values = [pages.text(of_run.get(name, "–")) for of_run in settings]
        if len(set(values)) > 1:
            rows.append([pages.text(name), *values])
    return pages.grid_table(["", *(run.name for run in runs)], rows) if rows else "<p>There are none.</p>"
