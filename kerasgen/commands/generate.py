"""Pictures from a trained model that makes them from noise, and a sampler of its latents."""

import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError, a_kind
from kerasgen.files import atomic_write
from kerasgen.presets import PresetFolder
from kerasgen.runs import RunFolder, data_of, load_model
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    from kerasgen.data.sources.source import Origin
    from kerasgen.models import FromNoise
    from kerasgen.samplers import Sampler

_LARGEST = 50_000  # training pictures at most that a sampler is fitted to


@dataclass(frozen=True)
class Encoded:
    """Training pictures as a sampler sees them.

    Attributes:
        mean, log_var: of the posteriors, [n, latent_dim].
        labels: integers [n], or None.
        attributes: integers [n] by name; empty where the source has none.
    """

    mean: np.ndarray
    log_var: np.ndarray
    labels: np.ndarray | None
    attributes: dict[str, np.ndarray]


@dataclass(frozen=True)
class Generated:
    """Pictures and where they came from, [n] of each.

    Attributes:
        images: [n, height, width, channels] in [0, 1].
        z: [n, latent_dim].
        log_density: of z under the sampler, given the evidence, in nats.
        component: the part of the sampler, such as a tree's leaf.
        origin: it as text, such as the leaf's rule.
        labels: what the decoder was told, or what the sampler was asked for: [n] or [n, attributes]; None if nothing.
    """

    images: np.ndarray
    z: np.ndarray
    log_density: np.ndarray
    component: np.ndarray
    origin: list[str]
    labels: np.ndarray | None


def generating_model(path: str | os.PathLike) -> "FromNoise":
    """Return the model of a run folder or of a `.keras` file, which must generate from noise.

    Raises:
        UserError: there is none, or it doesn't.
    """
    from kerasgen.models import FromNoise

    model = load_model(path)
    if not isinstance(model, FromNoise):
        raise UserError(f"{path} holds {a_kind(model)}, which generates nothing from noise: give a VAE or a flow.")
    return model


def check_sampler(model: "FromNoise", name: str) -> None:
    """Raise `UserError` unless there is a sampler of that name, and it can draw the model's latents."""
    from kerasgen.samplers import find_sampler

    if find_sampler(name).needs_data and not model.encodes:
        raise UserError(
            f"The sampler {name!r} is fitted to the latents of pictures, but {a_kind(model)} draws its own "
            "from N(0, I): choose the sampler prior."
        )


def needs_data(model: "FromNoise", sampler: str, where: Mapping[str, int] | None) -> bool:
    """Return whether training pictures are needed: for the sampler, or for real combinations of attributes.

    Raises:
        UserError: there is no such sampler, or it isn't one for this model.
    """
    from kerasgen.samplers import find_sampler

    check_sampler(model, sampler)
    return find_sampler(sampler).needs_data or bool(model.num_attributes) or (where is not None and model.encodes)


def source_of(run: str | os.PathLike, data: str | None) -> str:
    """Return the data source of a run folder, unless another one is given.

    Raises:
        UserError: none is given, and the run names none.
    """
    if data is not None:
        return data
    arguments = data_of(run)
    if arguments is None or "source" not in arguments:
        raise UserError(
            f"{run} doesn't name its data source, but this needs its pictures: give --data, such as folder:PATH."
        )
    return str(arguments["source"])


def origin_of(run: str | os.PathLike, data: str | None) -> "Origin":
    """Return where a run's own source lies, for a "tfds:NAME", as an argument of `kerasgen.data.load`."""
    own = {} if data is not None else data_of(run) or {}
    return {"data_dir": str(own["data_dir"])} if "data_dir" in own else {}


def class_names_of(model: "FromNoise", run: str | os.PathLike, data: str | None) -> tuple[str, ...]:
    """Return the names of the classes that a model was trained on; none where its data has no names.

    A run has written them down, because folders come and go; those of an earlier version are read off the data.

    Args:
        model: the model.
        run: where it was read from.
        data: a source to take instead of the run's own.

    Raises:
        UserError: there is no such source.
    """
    own = data_of(run) or {}
    source = data or own.get("source")
    if not model.num_classes or source is None:
        return ()
    if data is None and (learned := _learned_names(run)):
        return learned
    names = _names_in(model, str(source), origin_of(run, data))
    return names if len(names) == model.num_classes else ()


def check_classes(model: "FromNoise", run: str | os.PathLike, source: str, origin: "Origin") -> None:
    """Raise `UserError` if a source has other classes than the run's model learned, whose numbers would be others."""
    learned = _learned_names(run)
    present = _names_in(model, source, origin) if learned else ()
    if present and present != learned:
        raise UserError(
            f"{source!r} has the classes {', '.join(present)}, but the model learned {', '.join(learned)}: give "
            "--data with folders of these names."
        )


def _learned_names(run: str | os.PathLike) -> tuple[str, ...]:
    folder = RunFolder(run)
    known = folder.exists() and not PresetFolder(run).exists()  # whose config.json is another
    return tuple(folder.config().get("class_names", ())) if known else ()


def _names_in(model: "FromNoise", source: str, origin: "Origin") -> tuple[str, ...]:
    from kerasgen.data import open_source

    height, width, channels = model.image_shape
    return open_source(source, "train", (height, width), channels, **origin).class_names


def class_of(text: str, names: Sequence[str]) -> int:
    """Return the class that a text means: its number, or the name of its folder.

    Args:
        text: such as "3" or "cats".
        names: of all classes.

    Raises:
        UserError: no class has the name.
    """
    if text in names:
        return names.index(text)
    try:
        if names and all(name.isdecimal() for name in names):
            raise ValueError  # a number is a name here
        number = int(text)
    except ValueError:
        known = f"one of {', '.join(names)}" if names else "its number, because the run's data names no classes"
        raise UserError(f"No class is called {text!r}: give {known}.") from None
    return values.whole("--label", number, least=0)


def with_class_names(generated: Generated, names: Sequence[str]) -> Generated:
    """Return the same with classes called by their names in what is told of each picture's origin."""

    def named(match: "re.Match[str]") -> str:
        number = int(match[2])
        return f"{match[1]}{names[number]}" if number < len(names) else match[0]

    origin = [re.sub(r"\b(label [=≠] )(\d+)", named, text) for text in generated.origin]
    return replace(generated, origin=origin)


def encode_source(
    model: "FromNoise", source: str, label: int | None = None, origin: "Origin | None" = None
) -> Encoded:
    """Return the posteriors, labels and attributes of a source's training split, of 50,000 pictures at most.

    A label that is a vector of zeros and ones is taken as attributes, named as the source names them. `label` is
    the class of all pictures of a source that has no labels, such as a folder with a few pictures to sample around.
    A model that encodes nothing gets posteriors of no dimensions.
    `origin` is what `origin_of` gives.

    Raises:
        UserError: there is no such source, or it lacks the labels that a conditional model needs.
    """
    from kerasgen.data.loading import load_some

    origin = origin or {}
    means, log_vars, labels = [], [], []
    for batch in load_some(source, "train", _LARGEST, 256, model.image_shape, origin):
        if "label" not in batch and label is not None:
            batch["label"] = np.full(len(batch["image"]), label, np.int32)
        if "label" not in batch and model.conditional:
            raise UserError(
                f"{source!r} has no labels, but the model is conditional on them: "
                "give the class of its pictures as --label, or a source with class folders."
            )
        if model.encodes:
            posterior = model.encode(batch["image"], batch.get("label") if model.conditional else None)
            means.append(posterior.mean)
            log_vars.append(posterior.log_var)
        else:
            means.append(np.zeros((len(batch["image"]), 0), np.float32))
            log_vars.append(means[-1])
        if "label" in batch:
            labels.append(np.asarray(batch["label"]))
    found = np.concatenate(labels) if labels else None
    attributes = {}
    if found is not None and found.ndim == 2:
        names = _names_in(model, source, origin)
        attributes = {name: column.astype(np.int64) for name, column in zip(names, found.T, strict=True)}
        found = None
    return Encoded(np.concatenate(means), np.concatenate(log_vars), found, attributes)


def fitted_sampler(model: "FromNoise", name: str, encoded: Encoded | None, temperature: float = 1.0) -> "Sampler":
    """Make a sampler by name, fitted to encoded training pictures; the prior needs none.

    Raises:
        UserError: there is no such sampler.
    """
    from kerasgen.samplers import find_sampler

    sampler_class = find_sampler(name)
    if encoded is None or not sampler_class.needs_data:
        return sampler_class.of_dimension(model.latent_dim, temperature)
    return sampler_class(temperature=temperature).fit(encoded, encoded.labels, encoded.attributes)


def ready_sampler(
    model: "FromNoise",
    run: str | os.PathLike,
    name: str,
    where: Mapping[str, int] | None,
    label: int | None,
    data: str | None,
    temperature: float,
) -> "tuple[Sampler, Encoded | None]":
    """Return a sampler that is fitted, and the training pictures as it saw them, where they had to be read.

    What was fitted to a run's own data stays in the run folder, and is read again as long as the model is the same.

    Args:
        model: the model.
        run: where it was read from.
        name: of the sampler.
        where: evidence that was asked for.
        label: the class of pictures without labels.
        data: a source to take instead of the run's own.
        temperature: of the sampler.

    Raises:
        UserError: there is no such sampler or source, or the run folder can't be written.
    """
    from kerasgen.samplers import find_sampler, load_sampler

    if not needs_data(model, name, where):
        return fitted_sampler(model, name, None, temperature), None
    folder = RunFolder(run)
    kept = None
    if data is None and folder.model_file.is_file() and find_sampler(name).needs_data:
        kept = folder.sampler_file(f"{name}_{temperature:g}")
    if kept is not None and kept.is_file() and not model.num_attributes:
        return load_sampler(kept), None
    source, origin = source_of(run, data), origin_of(run, data)
    check_classes(model, run, source, origin)
    encoded = encode_source(model, source, label, origin)
    sampler = fitted_sampler(model, name, encoded, temperature)
    if kept is not None:
        try:
            sampler.save(kept)
        except UserError as error:  # a run of somebody else: it is fitted anew the next time
            warnings.warn(f"The fitted sampler isn't kept: {error}", stacklevel=2)
    return sampler, encoded


def generate_pictures(
    model: "FromNoise",
    sampler: "Sampler",
    n: int,
    seed: int = 0,
    where: Mapping[str, int] | None = None,
    labels: Tensor = None,
    encoded: Encoded | None = None,
) -> Generated:
    """Draw latents and decode them.

    An unconditional VAE gets its evidence through the sampler alone. A conditional one is told it too; attributes
    that the evidence leaves out are those of a random training picture which agrees with it, and without evidence
    the classes take turns.

    Args:
        model: a trained one.
        sampler: fitted to its latents.
        n: how many.
        seed: the same seed gives the same pictures.
        where: evidence such as {"label": 3} or {"smiling": 1}.
        labels: integers [n] instead of `where`, one for each picture.
        encoded: the training pictures, for a VAE that is conditional on attributes.

    Raises:
        UserError: the evidence is unknown.
    """
    told, asked = None, labels
    if model.conditional:
        told = labels if labels is not None else _conditions(model, n, seed, where, encoded)
        # The classes' latents differ a little even here; attributes reach the sampler as evidence.
        asked, where = (told, None) if np.ndim(told) == 1 else (None, where)
        if not sampler.knows_labels:
            asked = where = None
    groups = [(where, np.arange(n))] if asked is None else _by_label(np.asarray(asked))
    parts = [sampler.sample(len(places), seed + i, evidence) for i, (evidence, places) in enumerate(groups)]
    order = np.argsort(np.concatenate([places for _, places in groups]))
    z = np.concatenate([part.z for part in parts])[order]
    origin = [text for part in parts for text in part.origin]
    return Generated(
        model.decode(z, told),
        z,
        np.concatenate([part.log_prob for part in parts])[order],
        np.concatenate([part.component for part in parts])[order],
        [origin[i] for i in order],
        asked if told is None else told,
    )


def save_generated(generated: Generated, folder: str | os.PathLike) -> None:
    """Write grid.png, each picture as NNNN.png, and samples.json with z, leaf, rule and log-density of each.

    Raises:
        UserError: the folder can't be written.
    """
    from kerasgen.drawing import grid, save_png, to_uint8

    folder, images = Path(folder), to_uint8(generated.images)
    save_png(folder / "grid.png", grid(images))
    rows = []
    for i, image in enumerate(images):
        save_png(folder / f"{i:04d}.png", image)
        row = {"file": f"{i:04d}.png", "leaf": int(generated.component[i]), "rule": generated.origin[i]}
        density = float(generated.log_density[i])
        row |= {"log_density": density if np.isfinite(density) else None, "z": generated.z[i].tolist()}
        rows.append(row if generated.labels is None else row | {"label": np.asarray(generated.labels[i]).tolist()})
    with atomic_write(folder / "samples.json") as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n")


def _by_label(labels: np.ndarray) -> list[tuple[dict[str, int], np.ndarray]]:
    return [({"label": int(value)}, np.nonzero(labels == value)[0]) for value in np.unique(labels)]


def _conditions(
    model: "FromNoise", n: int, seed: int, where: Mapping[str, int] | None, encoded: Encoded | None
) -> np.ndarray:
    """Return what a conditional decoder is told: labels [n], or attribute vectors [n, num_attributes]."""
    if encoded is not None and encoded.attributes:
        from kerasgen.samplers.attributes import Attributes

        table = Attributes.of(len(encoded.mean), None, encoded.attributes)
        (matching,) = np.nonzero(table.matching(table.evidence(where)))
        if not len(matching):
            raise UserError(f"No training picture has {table.text(where)} together: leave one of them out.")
        rows = np.stack(list(encoded.attributes.values()), axis=1)
        return rows[np.random.default_rng(seed).choice(matching, n)]
    if model.num_attributes:
        raise UserError(
            f"The model is conditional on {model.num_attributes} attributes, and takes their combinations from real "
            "pictures: give --data with a source that names attributes."
        )
    assert model.num_classes is not None  # a conditional model knows classes or attributes
    unknown = set(where or {}) - {"label"}
    if unknown:
        raise UserError(
            f"The model knows no attribute {', '.join(sorted(unknown))}: give label=…, a class from 0 to "
            f"{model.num_classes - 1}."
        )
    label = (where or {}).get("label")
    if label is not None and not 0 <= label < model.num_classes:
        raise UserError(f"The label is {label}, but this model knows the classes 0 to {model.num_classes - 1}.")
    return np.arange(n) % model.num_classes if label is None else np.full(n, label)
