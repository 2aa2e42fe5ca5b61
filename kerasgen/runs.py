"""The run folder: the one reader and writer of what a training leaves behind, and of `.keras` files."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from kerasgen import values
from kerasgen.declared import preset_names
from kerasgen.errors import UserError, reason
from kerasgen.files import MODEL_FILE, atomic_write, held, numbered
from kerasgen.presets import PresetFolder, digest
from kerasgen.typing import Config
from kerasgen.untrusted import load_keras, load_keras_folder, read_json, read_text, reading

if TYPE_CHECKING:
    import keras

# Raise it when a folder of today can't be read by yesterday's code, and teach `RunFolder.config` the old layout.
LAYOUT = 1
_SAVED_MODEL = "saved_model.pb"


class RunConfig(TypedDict):
    """What config.json says of a run. The folders from before the first release have no `layout`.

    Attributes:
        layout: the version of this layout.
        preset: its name.
        model: the name of the model's class.
        config: what the model was built from.
        data: arguments of the loader that the model declares, the batch size among them.
        class_names: of the classes that a conditional model learned, in the order of their numbers.
        epochs: of the whole training.
        stages: for each part of a training that was made longer, the epoch at which it ends and the schedule.
        start: where its first weights are from, None if they are random.
        steps_per_epoch: batches of an epoch.
        seed: of weights, order and noise.
        recipe: arguments of the model's `compile_for_recipe`.
        options: how it ran.
        replicas: devices that shared each batch.
        workers: machines.
        versions: of Python and of the packages.
        git_commit: of the clone that it was trained with, None outside of one.
    """

    layout: NotRequired[int]
    preset: str
    model: str
    config: dict[str, Config]
    data: dict[str, Config]
    class_names: NotRequired[list[str]]
    epochs: int
    stages: NotRequired[list[dict[str, Config]]]
    start: NotRequired[str | None]
    steps_per_epoch: int
    seed: int
    recipe: dict[str, Config]
    options: dict[str, Config]
    replicas: int
    workers: int
    versions: dict[str, str]
    git_commit: str | None


class Health(TypedDict):
    """What health.json says of a run.

    Attributes:
        state: "healthy", "doubtful", "sick" or "early".
        summary: a sentence.
        reasons: kind, text and whether it is grave, of each.
        epochs: that were finished.
    """

    state: str
    summary: str
    reasons: list[dict[str, Config]]
    epochs: int


_HEALTH = {
    "state": str,
    "summary": str,
    "reasons": [{"kind": str, "text": str, "grave": bool}],
    "epochs": int,
}

# What the readers need of a file that anybody may have written. A folder of today holds all of `RunConfig`.
_SCHEMA = {
    "data": {"source?": str, "source_a?": str, "source_b?": str, "batch_size?": int, "image_size?": (int, [int])},
    "class_names?": [str],
    "layout?": int,
    "preset?": str,
    "model?": str,
    "config?": dict,
    "options?": dict,
    "recipe?": dict,
    "epochs?": int,
    "steps_per_epoch?": int,
    "seed?": int,
    "stages?": (None, [{"epochs": int}]),
}


class RunFolder:
    """A folder of `kerasgen train`.

    Example:
        run = RunFolder("runs/digits")
        model, loader = run.model(), run.data()

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = values.path("The run folder", path)

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"

    @property
    def model_file(self) -> Path:
        return self.path / MODEL_FILE

    @property
    def log_file(self) -> Path:
        return self.path / "log.csv"

    def sampler_file(self, name: str) -> Path:
        """Return where a sampler that was fitted to the present model is kept."""
        return self.path / "samplers" / f"{name}_{digest(self.model_file)[:12]}.npz"

    @property
    def curves_file(self) -> Path:
        return self.path / "curves.png"

    @property
    def evaluation_file(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def report_file(self) -> Path:
        """The page that says how the training goes."""
        return self.path / "report.html"

    @property
    def health_file(self) -> Path:
        """The verdict of the report, for programs."""
        return self.path / "health.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the states to go on from."""
        return self.path / "checkpoints"

    @property
    def pictures(self) -> Path:
        """The folder of each epoch's picture."""
        return self.path / "pictures"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's logs, where they were asked for."""
        return self.path / "tensorboard"

    def exists(self) -> bool:
        """Return whether a run stands here, begun or finished."""
        return self.config_file.is_file()

    def config(self) -> RunConfig:
        """Read config.json, of this layout or of an earlier one.

        Raises:
            UserError: there is none, it can't be read, or a later version of kerasgen wrote it.
        """
        if not self.config_file.exists():
            raise UserError(f"{self.path} is not a run folder: give one that `kerasgen train` wrote.")
        advice = "train again, or restore it"
        config = read_json(self.config_file, _SCHEMA, "the configuration of a run", advice)
        if cast("int", config.get("layout", 0)) > LAYOUT:
            raise UserError(
                f"{self.path} has the layout {config['layout']}, but this version of kerasgen knows layouts up to "
                f"{LAYOUT}: update kerasgen."
            )
        return cast("RunConfig", config)

    def write_config(self, config: RunConfig) -> None:
        """Write config.json, with this layout's version.

        Raises:
            UserError: the folder can't be written.
        """
        write_json(self.config_file, {"layout": LAYOUT, **config})

    def data(self) -> dict[str, Config]:
        """Return the arguments of the loader that the run's model declares.

        Raises:
            UserError: see `config`.
        """
        return dict(self.config()["data"])

    def check(self, resume: bool = False, overwrite: bool = False) -> None:
        """See that a run can be begun here, or resumed.

        Args:
            resume: whether there must be one.
            overwrite: whether one that stands here may be replaced.

        Raises:
            UserError: a run stands here already, there is none to resume, or other files would be replaced.
        """
        if resume and not self.exists():
            raise UserError(f"{self.path} holds no run to resume: leave --resume out to begin one.")
        if not self.exists() and (others := self._written()):
            raise UserError(
                f"{self.path} is not a run folder, but holds what a training would replace, such as "
                f"{others[0].relative_to(self.path)}: choose another --output."
            )
        if self.exists() and not (resume or overwrite):
            raise UserError(
                f"{self.path} holds a run already: go on with it by --resume, choose another --output, "
                "or remove that folder."
            )

    def begin(self, config: RunConfig, overwrite: bool = False) -> None:
        """Make the folder of a new run.

        Args:
            config: what the run is.
            overwrite: whether a run that stands here may be replaced.

        Raises:
            UserError: a run stands here already, or the folder can't be written.
        """
        self.check(overwrite=overwrite)
        self._clear([*self._numbered(), self.log_file])
        self.write_config(config)

    def epoch_pictures(self) -> list[Path]:
        """Return the pictures of epochs, the first first; what else lies beside them is left out."""
        return numbered(self.pictures, "epoch_", ".png")

    def _numbered(self) -> list[Path]:
        return [*self.epoch_pictures(), *numbered(self.checkpoints, "step_", ".npz")]

    def _written(self) -> list[Path]:
        """Return what a training would write and is there already."""
        named = (self.log_file, self.model_file, self.curves_file, self.report_file, self.health_file)
        return [*self._numbered(), *(file for file in named if file.exists())]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder, made where it is missing, against others that train in it.

        Raises:
            UserError: another process trains in it, or it can't be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {self.path} can't be written ({reason(error)}): choose another --output."
            ) from error
        with held(self.path, "is trained"):
            yield

    def go_on(self, config: RunConfig) -> None:
        """Make the folder of a run that is resumed ready.

        Raises:
            UserError: the folder can't be written.
        """
        self._clear([])
        self.write_config(config)

    def _clear(self, stale: list[Path]) -> None:
        try:
            self.pictures.mkdir(parents=True, exist_ok=True)
            for old in stale:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {self.path} can't be written ({reason(error)}): choose another --output."
            ) from error

    def write_report(self, page: str, health: Mapping[str, object]) -> None:
        """Write report.html and health.json.

        Args:
            page: HTML.
            health: `Health`.

        Raises:
            UserError: the folder can't be written.
        """
        with atomic_write(self.report_file) as temporary:
            temporary.write_text(page, encoding="utf-8")
        write_json(self.health_file, health)

    def health(self) -> Health | None:
        """Read health.json; None where no report was written.

        Raises:
            UserError: it can't be read.
        """
        if not self.health_file.exists():
            return None
        return cast(
            "Health", read_json(self.health_file, _HEALTH, "the verdict on a run", "train again, or remove it")
        )

    def log(self) -> list[dict[str, float]]:
        """Read log.csv: the numbers of each epoch by name; empty before the first is over.

        Raises:
            UserError: it can't be read.
        """
        if not self.log_file.exists():
            return []
        lines = read_text(self.log_file, "the log of a training", "train again").splitlines()
        with reading(self.log_file, "the log of a training", "train again"):
            return [{n: float(v) for n, v in row.items() if n != "epoch" and v} for row in csv.DictReader(lines)]

    def save_model(self, model: "keras.Model") -> None:
        """Write model.keras, see `save_model`; what was measured of an earlier one isn't said any more."""
        save_model(model, self.model_file)
        self.evaluation_file.unlink(missing_ok=True)

    def model(self) -> "keras.Model":
        """Read model.keras; see `load_model`."""
        return load_model(self.model_file)


def save_model(model: "keras.Model", path: str | os.PathLike) -> None:
    """Write a `.keras` file, atomically.

    Raises:
        UserError: the path can't be written.
    """
    with atomic_write(path) as temporary:
        model.save(temporary)


def check_model(path: str | os.PathLike) -> None:
    """Raise `UserError` unless there is something that a model could be read from: a file, a folder, or a preset."""
    path = values.path("model", path)
    if not path.exists() and str(path) not in preset_names():
        raise UserError(
            f"There is no model at {path}: give a run folder of `kerasgen train`, a .keras file, or a preset that "
            "`kerasgen list` shows as trained."
        )


def load_model(path: str | os.PathLike) -> "keras.Model":
    """Return the model of a run folder, of a `.keras` file, or of a preset with trained weights (a name or a folder).

    A file or folder of that name goes before a preset. A folder of `model.save(path, zipped=False)` will do, and an
    `.h5` file.

    Raises:
        UserError: there is none, or it can't be read.
    """
    from kerasgen.models import find, model_named, presets

    path = values.path("model", path)
    if not path.exists() and str(path) in presets():
        return find(str(path))[0].from_preset(str(path))
    if (folder := PresetFolder(path)).exists():
        return load_keras_folder(path) if folder.is_of_keras() else model_named(folder.model_name()).from_preset(path)
    if (path / _SAVED_MODEL).is_file() or path.name == _SAVED_MODEL:
        raise UserError(
            f"{path} is a SavedModel, which is an artifact already and can't be taken back into Keras: give the run "
            "folder, or the .keras or .h5 file, that it was exported from."
        )
    file = RunFolder(path).model_file if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"There is no model at {path}: give a run folder of `kerasgen train`, a .keras file, or a preset that "
            "`kerasgen list` shows as trained."
        )
    return load_keras(file)


def data_of(path: str | os.PathLike) -> dict[str, Config] | None:
    """Return the arguments of the loader that a model was trained with; None for what Keras saved, which doesn't say.

    Args:
        path: as for `load_model`.

    Raises:
        UserError: the run's or the preset's own file is damaged.
    """
    from kerasgen.models import presets

    path = values.path("model", path)
    if not path.exists() and str(path) in presets():
        return dict(presets()[str(path)][1].data)
    if (folder := PresetFolder(path)).exists():
        return None if folder.is_of_keras() else dict(folder.metadata().get("data", {})) or None
    return RunFolder(path).data() if RunFolder(path).exists() else None


def write_json(path: str | os.PathLike, value: Mapping[str, object]) -> None:
    """Write JSON for people, atomically; NumPy's numbers become numbers, all else that JSON lacks its text.

    Raises:
        UserError: the path can't be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


def json_text(value: Mapping[str, object]) -> str:
    """Return the text that `write_json` writes."""
    return json.dumps(value, indent=2, default=_plain) + "\n"


def _plain(value: object) -> object:
    import numpy as np

    return value.item() if isinstance(value, np.generic) else str(value)
