"""A run: a preset trained on a data source, into a folder that says all of it."""

import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.presets import find

_PACKAGES = ("kerasgen", "tensorflow", "keras", "numpy")


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: holds config.json, log.csv, curves.png, pictures/, model.keras, and state.npz, from which
            `callbacks.TrainingState` goes on.
        model: the trained model.
        history: values of each epoch by name.
        validation: the dataset that it was validated on.
    """

    folder: Path
    model: Any
    history: dict[str, list[float]]
    validation: Any


def train(
    preset: str,
    output: str | os.PathLike,
    data: str | tuple[str, str] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    download: bool = False,
    data_dir: str | None = None,
) -> Run:
    """Train a preset and write a run folder.

    Args:
        preset: its name; see `kerasgen list`.
        output: the run folder.
        data: a data source such as "folder:PATH", or two of them, domain A and domain B, for a model that
            translates; None takes the preset's own.
        epochs: None takes the preset's own.
        seed: of the weights, the order of the data and the noise.
        overwrite: whether a run that stands in the folder may be replaced.
        download, data_dir: for "tfds:NAME"; see `kerasgen.data.load`.

    Raises:
        UserError: an argument doesn't fit, the folder holds a run already, or a loss became NaN.
    """
    import keras

    from kerasgen.pictures import plot_history, save_png, side_by_side

    model_class, found = find(preset)
    epochs = found.recipe["epochs"] if epochs is None else epochs
    if epochs < 1:
        raise UserError(f"{epochs} epochs were asked for: ask for at least 1.")
    keras.utils.set_random_seed(seed)
    training, validation, loader = _datasets(preset, data, seed, {"download": download, "data_dir": data_dir})
    model = model_class.from_preset(preset, seed=seed)
    recipe = {name: value for name, value in found.recipe.items() if name != "epochs"}
    model.compile_for_recipe(len(training), epochs, **recipe)

    folder = _prepare(Path(output), overwrite)
    config = {"preset": preset, "model": model_class.__name__, "config": model.get_config(), "data": loader}
    config |= {"epochs": epochs, "steps_per_epoch": len(training), "seed": seed, "recipe": recipe}
    _write_json(folder / "config.json", config | {"versions": _versions()})
    examples = next(iter(validation))
    history = _fit(model, training, validation, epochs, folder, None if hasattr(model, "generate") else examples)
    save_model(model, folder / "model.keras")
    plot_history(folder / "curves.png", history)
    pictures = model.preview(n=10, inputs=examples)
    # The second title says what became of the inputs: reconstruction, translation.
    save_png(folder / f"{list(pictures)[1]}s.png", side_by_side(pictures))
    return Run(folder, model, history, validation)


def _fit(
    model: Any, training: Any, validation: Any, epochs: int, folder: Path, inputs: Any
) -> dict[str, list[float]]:
    import keras

    from kerasgen import callbacks

    bar = callbacks.ProgressBar(("loss", "val_elbo", "generator_loss", "val_psnr_a2b", "val_psnr"))
    written = [
        callbacks.StopOnNaN(),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        callbacks.ImageGrid(folder / "pictures", inputs=inputs),
        callbacks.TrainingState(folder / "state.npz"),
    ]
    options = {"validation_data": validation, "epochs": epochs, "verbose": 0, "shuffle": False}
    try:
        return model.fit(training, callbacks=[bar, *written], **options).history
    finally:
        bar.close()


def _datasets(
    preset: str, data: str | tuple[str, str] | None, seed: int, origin: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Training data, validation data, and the arguments that they were loaded with."""
    from kerasgen import data as sources

    model_class, found = find(preset)
    loader = dict(found.data)
    needed = ("source_a", "source_b") if model_class.unpaired else ("source",)
    given = (data,) if isinstance(data, str) else data
    if given is not None:
        if len(given) != len(needed):
            raise UserError(
                f"The preset {preset!r} trains on {len(needed)} data source(s), but {len(given)} were given: "
                + ("give --data-a and --data-b." if model_class.unpaired else "give --data.")
            )
        loader |= dict(zip(needed, given, strict=True))
    if not loader.keys() >= set(needed):
        options = "--data-a folder:PATH --data-b folder:PATH" if model_class.unpaired else "--data folder:PATH"
        raise UserError(f"The preset {preset!r} comes without data: give {options}.")
    load_split = getattr(sources, model_class.data_loader)
    loader |= {name: value for name, value in origin.items() if value}
    return load_split(split="train", seed=seed, **loader), load_split(split="test", seed=seed, **loader), loader


def _prepare(folder: Path, overwrite: bool) -> Path:
    if (folder / "config.json").exists() and not overwrite:
        raise UserError(f"{folder} holds a run already: choose another --output, or remove that folder.")
    try:
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        for old in [*(folder / "pictures").glob("epoch_*.png"), folder / "log.csv"]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} can't be written ({error.strerror}): choose another --output."
        ) from error
    return folder


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    return versions | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _write_json(path: Path, value: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n")


def save_model(model: Any, path: str | os.PathLike) -> None:
    """Write a `.keras` file, atomically.

    Raises:
        UserError: the path can't be written.
    """
    with atomic_write(path) as temporary:
        model.save(temporary)


def load_run(path: str | os.PathLike) -> Any:
    """The model of a run folder, or of a `.keras` file.

    Raises:
        UserError: there is none, or it can't be read.
    """
    import keras

    import kerasgen.models  # noqa: F401  registers the classes that the file names

    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"There is no model at {path}: give a run folder of `kerasgen train`, or a .keras file.")
    try:
        return keras.models.load_model(file)
    except (ValueError, OSError, KeyError, TypeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{file} can't be read as a Keras model ({first_line}): save the model again.") from error
