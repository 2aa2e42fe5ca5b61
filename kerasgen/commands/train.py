"""A run: a preset trained on a data source, into a folder that says all of it."""

import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from kerasgen import values
from kerasgen.commands.options import Options
from kerasgen.commands.report import Report
from kerasgen.commands.settings import changed
from kerasgen.commands.training_data import TrainingData, with_sources
from kerasgen.commands.warm_start import start_from
from kerasgen.declared import refuse_monitor
from kerasgen.errors import UserError
from kerasgen.models import FromNoise, GenerativeModel, find, model_named
from kerasgen.presets import Preset
from kerasgen.runs import RunConfig, RunFolder, json_text
from kerasgen.training.schedules import Continuation, Stage

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasgen.training.watching import TranslationWatch

_PACKAGES = ("kerasgen", "tensorflow", "keras", "numpy")


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: holds config.json, log.csv, report.html, curves.png, pictures/, checkpoints/ and model.keras.
        model: the trained model.
        history: values of each epoch by name.
        validation: the dataset that it was validated on.
    """

    folder: Path
    model: GenerativeModel
    history: dict[str, list[float]]
    validation: "tf.data.Dataset"


@dataclass(frozen=True)
class Recipe:
    """What is trained without being a preset, such as a student.

    Attributes:
        name: what the run says for its preset.
        model_class: of the model.
        preset: arguments of the model, of its data and of its training.
    """

    name: str
    model_class: type[GenerativeModel]
    preset: Preset


def train(
    preset: str | Recipe,
    output: str | os.PathLike,
    data: str | tuple[str, str] | None = None,
    epochs: int | Sequence[int] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    batch_size: int | None = None,
    resume: bool = False,
    options: Options | None = None,
    download: bool = False,
    data_dir: str | None = None,
    settings: Mapping[str, object] | None = None,
    schedule: str | None = None,
    start: str | None = None,
) -> Run:
    """Train a preset and write a run folder.

    On CPUs TensorFlow's deterministic operations are switched on, for the whole process: a training that was
    interrupted and goes on then equals an undisturbed one to the bit.

    Args:
        preset: its name; see `kerasgen list`. Or a recipe that has none.
        output: the run folder; several workers need one that all of them see.
        data: a data source such as "folder:PATH", or two of them, domain A and domain B, for a model that
            translates; None takes the preset's own.
        epochs: None takes the preset's own, and those of the run that is resumed. Several are the ends of stages:
            (2, 4) trains as a run of 2 epochs does that is then resumed to 4.
        seed: of the weights, the order of the data and the noise.
        overwrite: whether a run that stands in the folder may be replaced.
        batch_size: examples of a step on all devices together; None takes the preset's own.
        resume: go on with the run that stands in the folder, with the same arguments, or with more epochs.
        options: how it runs; None takes the defaults.
        download, data_dir: for "tfds:NAME"; see `kerasgen.data.load`.
        settings: changes to the preset, such as {"latent_dim": 32, "recipe.learning_rate": 1e-4, "image_size": 64};
            see `kerasgen.commands.settings.settings_of`.
        schedule: how the learning rate goes on into further epochs: "restart" or "extend"; see
            `kerasgen.training.schedules.Stage`.
        start: a run folder, a `.keras` file or a preset with trained weights, whose weights it begins with.

    Raises:
        UserError: an argument doesn't fit, the folder holds a run already (or none to resume), its checkpoints
            can't be used, a loss became NaN, or another worker has stopped.
    """
    import keras
    import tensorflow as tf

    from kerasgen.training.distribute import get_strategy, is_chief, wait_for_workers, worker_count

    options, folder = options or Options(), RunFolder(output)
    folder.check(resume, overwrite)
    values.seed("seed", seed)
    wanted = preset if isinstance(preset, Recipe) else Recipe(preset, *find(preset))
    model_class = wanted.model_class
    loader, found = with_sources(model_class, wanted.name, wanted.preset, data)
    start = _first_weights(folder, start) if resume else start
    sizes = {} if batch_size is None else {"data.batch_size": batch_size}
    found = changed(model_class, found, loader, sizes | dict(settings or {}))
    stages = stages_of(folder if resume else None, epochs, found.recipe["epochs"], schedule)
    strategy = get_strategy(options.strategy)
    _check_options(options, strategy, model_class)
    # Keras leaves XLA out, with a warning, where operations are to be deterministic.
    if not tf.config.list_physical_devices("GPU") and not options.jit:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    origin = {name: value for name, value in (("download", download), ("data_dir", data_dir)) if value}
    loaded = TrainingData(loader, found.data | origin, seed, strategy.num_replicas_in_sync)
    recipe = {name: value for name, value in found.recipe.items() if name != "epochs"}
    with strategy.scope(), _precision(options.precision):
        model = model_class(**found.config, **({"seed": seed} if model_class.seeded else {}))
        if start is not None:
            start_from(model, start)
        model.compile_for_recipe(loaded.steps_per_epoch, stages, **recipe)
    if options.jit:
        model.jit_compile = True

    config: RunConfig = {
        "preset": wanted.name,
        "model": model_class.__name__,
        "config": model.get_config(),
        "data": loaded.arguments,
        "class_names": list(loaded.class_names()) if isinstance(model, FromNoise) and model.num_classes else [],
        "epochs": stages[-1].epochs,
        "stages": [asdict(stage) for stage in stages],
        "start": start,
        "steps_per_epoch": loaded.steps_per_epoch,
        "seed": seed,
        "recipe": recipe,
        "options": asdict(options),
        "replicas": strategy.num_replicas_in_sync,
        "workers": worker_count(strategy),
        "versions": _versions(),
        "git_commit": _git_commit(),
    }
    with _begun(folder, config, overwrite, resume):
        wait_for_workers(strategy)
        history = _fit(model, loaded, folder, config, options)
        run = Run(folder.path, model, history, loaded.validation)
        if is_chief():
            finish(run)
        wait_for_workers(strategy)
    return run


def _first_weights(folder: RunFolder, start: str | None) -> str | None:
    """Return what a run that goes on began with; it may have been stopped before its first checkpoint.

    Raises:
        UserError: other weights are asked for.
    """
    former = folder.config().get("start")
    if start not in (None, former):
        said = "new weights" if former is None else f"the weights of {former}"
        raise UserError(f"The run in {folder.path} began with {said}: leave --from out, or begin another run.")
    return former


@contextmanager
def _begun(folder: RunFolder, config: RunConfig, overwrite: bool, resume: bool) -> Iterator[None]:
    """Make the folder ready, and hold it while it is trained in; one of several workers does so."""
    from kerasgen.training.distribute import is_chief

    if not is_chief():
        yield
        return
    if resume:
        _compare(folder, config)
    with folder.held():
        if resume:
            folder.go_on(config)
        else:
            folder.begin(config, overwrite)
        yield


def stages_of(
    resumed: RunFolder | None, epochs: int | Sequence[int] | None, usual: int, schedule: str | None
) -> tuple[Stage, ...]:
    """Return the stages of a training: one, or more where a run goes on for longer than it was begun for.

    Args:
        resumed: the run that goes on; None for a new one.
        epochs: that were asked for, or the ends of several stages.
        usual: the preset's own.
        schedule: how the learning rate goes on from stage to stage.

    Raises:
        UserError: there are too few epochs, nothing says how the learning rate goes on, or there is no run.
    """
    if schedule not in (None, "restart", "extend"):
        raise UserError(f"The schedule is {schedule!r}: choose 'restart' or 'extend'.")
    former = () if resumed is None else _former_stages(resumed)
    wanted = tuple(epochs) if isinstance(epochs, Sequence) else () if epochs is None else (epochs,)
    for end in wanted:
        values.whole("epochs", end)
    further = cast("Continuation", schedule or "extend")  # one of the two, as was just seen
    if former and resumed is not None and len(wanted) < 2:
        last = former[-1].epochs
        if not wanted or wanted[0] == last:
            return former
        if wanted[0] < last:
            raise UserError(
                f"The run in {resumed.path} is one of {last} epochs, and {wanted[0]} were asked for: give {last} or "
                "more, or begin another run."
            )
        stages = (*former, Stage(wanted[0], further))
    else:
        ends = wanted or (usual,)
        if list(ends) != sorted(set(ends)):
            raise UserError(f"The stages end with the epochs {ends}: give numbers that grow.")
        stages = (Stage(ends[0]), *(Stage(end, further) for end in ends[1:]))
    if len(stages) > max(1, len(former)) and schedule is None:
        before, after = stages[-2].epochs, stages[-1].epochs
        raise UserError(
            f"The training was made for {before} epochs, and {after} were asked for: say how the learning rate goes "
            f"on, --schedule restart (anew, over {after - before} epochs) or --schedule extend (as in a training of "
            f"{after})."
        )
    return stages


def _former_stages(run: RunFolder) -> tuple[Stage, ...]:
    config = run.config()
    return tuple(Stage(**stage) for stage in config.get("stages") or [{"epochs": config["epochs"]}])


def _check_options(options: Options, strategy: "tf.distribute.Strategy", model_class: type[GenerativeModel]) -> None:
    import tensorflow as tf

    if options.monitor and model_class.reported(options.monitor).better is None:
        refuse_monitor(options.monitor, model_class.judged_by()[0])
    precisions = ("float32", "mixed_bfloat16", "mixed_float16")
    values.whole("keep", options.keep)
    values.whole("measure_every", options.measure_every)
    if options.checkpoint_steps is not None:
        values.whole("checkpoint_steps", options.checkpoint_steps)
    on_cpu = not tf.config.list_physical_devices("GPU")
    if options.precision not in precisions:
        raise UserError(f"There is no precision {options.precision!r}: choose one of {', '.join(precisions)}.")
    if options.precision == "mixed_float16" and on_cpu:
        raise UserError(
            "The precision 'mixed_float16' is many times slower than float32 on a CPU: choose 'mixed_bfloat16', "
            "which pays from 64 channels on, or 'float32'."
        )
    if options.jit and on_cpu and strategy.num_replicas_in_sync > 1:
        raise UserError("XLA can't compile a step for several CPU devices: leave jit out, or train on one device.")
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError("TensorBoard is not installed: run `pip install kerasgen[tensorboard]`, or leave it out.")


@contextmanager
def _precision(name: str) -> Iterator[None]:
    import keras

    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def _fit(
    model: GenerativeModel, data: TrainingData, folder: RunFolder, config: RunConfig, options: Options
) -> dict[str, list[float]]:
    import keras

    from kerasgen.training import callbacks
    from kerasgen.training.checkpoints import Checkpoints
    from kerasgen.training.distribute import is_chief
    from kerasgen.training.progress import ProgressBar

    monitor = options.monitor or model.judged_by()
    kept = Checkpoints(folder.checkpoints, data.steps_per_epoch, options.checkpoint_steps, options.keep, monitor)
    step = kept.restore(model)
    model.steps_per_execution = together(
        model.steps_per_execution, data.steps_per_epoch, options.checkpoint_steps or 0, step % data.steps_per_epoch
    )
    log = callbacks.LogFile(folder.log_file, kept.logs)
    log.write()
    examples = next(iter(data.validation)) if model.previews_inputs else None
    pictures = callbacks.ImageGrid(folder.pictures, inputs=examples)
    stop = callbacks.StopWhenAsked(kept)
    report = Report(folder.path, data.mixed(), kept.logs)
    watch = [_watch(data, options.measure_every, kept.logs)] if model.evaluation == "translation" else []
    used = [callbacks.StopOnNaN(), *watch, pictures, kept, log, report, stop]
    bar = ProgressBar(tuple(reported.bar_name for reported in model.reports if reported.on_bar))
    if is_chief():
        used += [bar, keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: _keep_config(folder, config))]
    if options.tensorboard and is_chief():
        used.append(keras.callbacks.TensorBoard(folder.tensorboard, write_graph=False))
    with stop.listening(), closing(bar), report.following():
        model.fit(
            data.training(step),
            validation_data=data.validation,
            initial_epoch=step // data.steps_per_epoch,
            epochs=config["epochs"],
            steps_per_epoch=data.steps_per_epoch,
            shuffle=False,
            callbacks=used,
            verbose=0,
        )
    names = sorted({name for row in log.rows for name in row})
    return {name: [row.get(name, math.nan) for row in log.rows] for name in names}


def together(most: int, *marks: int) -> int:
    """Return the largest number of steps, `most` at most, that a training can take in one call and miss no mark.

    Args:
        most: steps.
        marks: steps that some call must end with, and all multiples of them; 0 marks none.

    Example:
        together(32, 100, 10)  # 10
    """
    shared = math.gcd(*marks)
    return max(count for count in range(1, most + 1) if shared % count == 0)


def _watch(data: TrainingData, every: int, before: Sequence[Mapping[str, float]]) -> "TranslationWatch":
    """Return what measures an unpaired translation; pictures that the filters can't take have no distance."""
    from kerasgen.metrics.distances import kernel_distance
    from kerasgen.metrics.filter_bank import filter_bank_features, takes
    from kerasgen.training.watching import TranslationWatch

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return kernel_distance(filter_bank_features(a), filter_bank_features(b), subsets=1).mean

    spec = data.validation.element_spec
    measured = all(takes(spec[domain].shape) for domain in ("a", "b"))
    return TranslationWatch(data.validation, distance if measured else None, every, before)


def _keep_config(folder: RunFolder, config: RunConfig) -> None:
    if not folder.exists():
        warnings.warn(
            f"{folder.path} was removed during the training; what is still known is written anew.", stacklevel=2
        )
        folder.write_config(config)


def finish(run: Run) -> None:
    """Write what a finished training leaves: the model, its curves, and a picture of what it does."""
    from kerasgen.drawing import plot_history, save_png, side_by_side

    folder = RunFolder(run.folder)
    folder.save_model(run.model)
    plot_history(folder.curves_file, run.history)
    pictures = run.model.preview(n=10, inputs=next(iter(run.validation)))
    save_png(run.folder / run.model.preview_file, side_by_side(pictures))


def _compare(folder: RunFolder, config: RunConfig) -> None:
    """Raise `UserError` unless the run that stands in the folder trains the same."""
    former, present = folder.config(), json.loads(json_text(config))
    for found in (former, present):
        found.get("config", {}).pop("name", None)  # Keras counts the models of a process in it
        found.get("recipe", {}).pop("steps_per_execution", None)  # which changes no number
        for where in ("download", "data_dir"):  # nor does it matter where the data came from
            found.get("data", {}).pop(where, None)
    # An argument that a newer version added stands at its default: the preset's run didn't know it.
    model_class = model_named(config["model"])
    former["config"] = present["config"] | model_class.upgraded_config(former.get("config", {}))
    for name in ("preset", "seed", "data", "steps_per_epoch", "recipe", "config"):
        if former.get(name) != present[name]:
            raise UserError(
                f"The run in {folder.path} was begun with {name} {former.get(name)!r}, and is resumed with "
                f"{present[name]!r}: give the same arguments, or choose another --output."
            )
    learned, now = (", ".join(found.get("class_names") or ()) for found in (former, present))
    if learned and learned != now:
        raise UserError(
            f"The run in {folder.path} learned the classes {learned}, but its data has {now or 'none'} by now: give "
            "the folders their names again."
        )
    for name in ("precision", "jit"):
        if former.get("options", {}).get(name) != present["options"][name]:
            raise UserError(
                f"The run in {folder.path} was begun with {name} {former.get('options', {}).get(name)!r}, and is "
                f"resumed with {present['options'][name]!r}: give the same."
            )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    return versions | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _git_commit() -> str | None:
    """Return the commit of the clone that this package runs from, with "+" for changed files; None outside of one."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty=+",
        "--exclude=*",
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return result.stdout.strip() or None
