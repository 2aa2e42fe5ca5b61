"""The evaluation of a trained model: what it is worth on pictures that it was not trained on, and a table of it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kerasgen.errors import UserError, a_kind
from kerasgen.runs import data_of, load_model, write_json

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasgen.commands.generate import Encoded
    from kerasgen.data.sources.source import Origin
    from kerasgen.metrics.features import Extractor
    from kerasgen.models import VAE, CycleGAN, FromNoise, GenerativeModel, PairedTranslator
    from kerasgen.typing import Tensor

_LARGEST = 10_000  # test pictures at most

# One row of a table, by name; None where a number is not defined. A report is tables, and texts about them.
Row: TypeAlias = dict[str, float | str | None]
Report: TypeAlias = dict[str, object]


def evaluate(
    run: str | os.PathLike,
    data: str | None = None,
    samplers: Sequence[str] = ("prior",),
    k: int = 50,
    features: str = "auto",
    seed: int = 0,
) -> Report:
    """Evaluate a run on the test split of a data source.

    A VAE is measured by its likelihood (ELBO and its parts, the IWAE bound of K samples, active units, bits per
    dimension where they are defined) and by as many generated pictures as there are test pictures, for each sampler,
    beside the same measures of real training pictures ("real"); a `RectifiedFlow` by its pictures alone. A model
    declares which of these
    measures it: a CycleGAN is measured by the kernel distance of its translations from the target domain, and
    by PSNR and SSIM where the truth is known, each beside the untouched input's; a `PairedTranslator` by its own
    `score(dataset)`, by SSIM and by the kernel distance to the truth; the others by `score(dataset)` alone.

    Args:
        run: a run folder, or a .keras file.
        data: a data source, or two separated by a comma for a model that translates; None takes the run's own.
        samplers: names of `kerasgen.samplers.SAMPLERS`, fitted to the training split.
        k: samples of the IWAE bound.
        features: "auto", "inception" or a classifier's .keras file; see `metrics.features.extractor_for`.
        seed: of all that is random.

    Returns:
        What `kerasgen evaluate` writes as JSON: numbers by table, row and name; None where one is not defined.

    Raises:
        UserError: the run, the source, a sampler or the features are unknown or don't fit.
    """
    from kerasgen.models import GenerativeModel

    model = load_model(run)
    if not isinstance(model, GenerativeModel):
        raise UserError(f"{run} holds {a_kind(model)}, which has no evaluation: give a model of kerasgen.")
    report: Report = {"model": type(model).__name__, "run": str(run), "seed": seed}
    return report | _EVALUATIONS[model.evaluation](model, run, data, Settings(samplers, k, features, seed))


@dataclass(frozen=True)
class Settings:
    """What an evaluation may be told; see `evaluate`."""

    samplers: Sequence[str]
    k: int
    features: str
    seed: int


def save_report(report: Report, path: str | os.PathLike) -> None:
    """Write what `evaluate` returned as JSON.

    Raises:
        UserError: the path can't be written.
    """
    write_json(path, report)


# -- VAE ----------------------------------------------------------------------------------------------------


def _generation(vae: "VAE", run: str | os.PathLike, data: str | None, settings: Settings) -> Report:
    from kerasgen.commands.generate import check_classes, encode_source, origin_of, source_of

    source, origin = source_of(run, data), origin_of(run, data)
    check_classes(vae, run, source, origin)
    images, labels = _examples(vae, source, "test", origin)
    encoded = encode_source(vae, source, origin=origin)
    report: Report = {
        "data": source,
        "split": "test",
        "likelihood": {"test": _likelihood(vae, images, labels, settings)},
    }
    return report | _compared(vae, source, origin, (images, labels), encoded, settings)


def _made_pictures(model: "FromNoise", run: str | os.PathLike, data: str | None, settings: Settings) -> Report:
    """Return measures of pictures alone, for a model that draws them from noise and encodes none."""
    from kerasgen.commands.generate import check_classes, check_sampler, encode_source, origin_of, source_of

    for name in settings.samplers:
        check_sampler(model, name)
    source, origin = source_of(run, data), origin_of(run, data)
    check_classes(model, run, source, origin)
    test = _examples(model, source, "test", origin)
    # Attributes come in combinations, which are those of training pictures.
    encoded = encode_source(model, source, origin=origin) if model.num_attributes else None
    return {"data": source, "split": "test"} | _compared(model, source, origin, test, encoded, settings)


def _compared(
    model: "FromNoise",
    source: str,
    origin: "Origin",
    test: tuple[np.ndarray, np.ndarray | None],
    encoded: "Encoded | None",
    settings: Settings,
) -> Report:
    extractor, why_not = _extractor(source, settings.features)
    training, _ = _examples(model, source, "train", origin)
    rows = _pictures(model, encoded, training, test, extractor, settings)
    named = {"features": extractor.name} if extractor else {"no_features": why_not}
    return {**named, "pictures": rows}


def _examples(model: "FromNoise", source: str, split: str, origin: "Origin") -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels of a split, 10,000 at most, of all parts of it."""
    from kerasgen.data.loading import load_some

    batches = list(load_some(source, split, _LARGEST, 250, model.image_shape, origin))
    images = np.concatenate([batch["image"] for batch in batches])
    return images, np.concatenate([batch["label"] for batch in batches]) if "label" in batches[0] else None


def _likelihood(vae: "VAE", images: np.ndarray, labels: np.ndarray | None, settings: Settings) -> Row:
    from kerasgen.metrics.likelihood import bits_per_dim, iwae_bound

    given = labels if vae.conditional else None
    posterior = vae.encode(images, given)
    weights = vae.log_weights(images, given, samples=settings.k, seed=settings.seed)
    kl, bound = float(posterior.kl().sum(axis=1).mean()), f"iwae_{settings.k}"
    found: Row = {"n": len(images), "likelihood": vae.likelihood, "elbo": float(weights.mean())}
    found |= {"reconstruction": kl + float(weights.mean()), "kl": kl}
    iwae = float(iwae_bound(weights).mean())
    found[bound] = iwae
    found["active_units"] = int((posterior.mean.var(axis=0) > 0.01).sum())
    discrete = vae.likelihood == "bernoulli" and np.isin(images, (0, 1)).all()
    found["bits_per_dim"] = bits_per_dim(iwae, images) if discrete else None
    return found


def _extractor(source: str, features: str) -> tuple["Extractor | None", str]:
    """Return the extractor, or why there is none; one that was asked for by name must be there."""
    from kerasgen.metrics.features import extractor_for

    try:
        return extractor_for(source, features), ""
    except UserError as error:
        if features != "auto":
            raise
        return None, str(error)


def _pictures(
    model: "FromNoise",
    encoded: "Encoded | None",
    training: np.ndarray,
    test: tuple[np.ndarray, np.ndarray | None],
    extractor: "Extractor | None",
    settings: Settings,
) -> dict[str, Row]:
    """Measures of real training pictures and of each sampler's, against the same test pictures."""
    from kerasgen.commands.generate import fitted_sampler, generate_pictures

    images, labels = test
    classes = labels if labels is not None and labels.ndim == 1 else None
    chosen = np.random.default_rng(settings.seed).permutation(len(training))[: len(images)]
    rows = {"real": compare(training[chosen], images, extractor)}
    rows["real"]["nearest_training"] = _nearest(images, training)
    rows["real"]["conditional_accuracy"] = _accuracy(images, classes, extractor)
    for name in settings.samplers:
        sampler = fitted_sampler(model, name, encoded)
        told = classes if model.num_classes or sampler.knows_labels else None
        made = generate_pictures(model, sampler, len(images), settings.seed, labels=told, encoded=encoded)
        rows[name] = compare(made.images, images, extractor)
        rows[name]["nearest_training"] = _nearest(made.images, training)
        rows[name]["conditional_accuracy"] = _accuracy(made.images, told, extractor)
    return rows


def compare(pictures: np.ndarray, real: np.ndarray, extractor: "Extractor | None") -> Row:
    """Distances of pictures [n, height, width, channels] in [0, 1] from real ones, in an extractor's features."""
    from kerasgen.metrics.distances import frechet_distance, kernel_distance, neighbors

    row: Row = {"n": len(pictures)}
    if extractor is None:
        return row
    ours, theirs = extractor.features(pictures), extractor.features(real)
    kernel = kernel_distance(theirs, ours)
    row |= {"frechet": frechet_distance(theirs, ours), "kernel": kernel.mean, "kernel_std": kernel.std}
    return row | neighbors(theirs, ours)._asdict() if len(ours) > 5 else row


def _nearest(pictures: np.ndarray, training: np.ndarray) -> float:
    from kerasgen.metrics.distances import nearest_distances

    return float(nearest_distances(pictures, training).mean())


def _accuracy(pictures: np.ndarray, classes: np.ndarray | None, extractor: "Extractor | None") -> float | None:
    if classes is None or extractor is None or extractor.classes is None:
        return None
    return float(np.mean(extractor.classes(pictures) == classes))


# -- translation --------------------------------------------------------------------------------------------


def _test_split(
    model: "GenerativeModel", run: str | os.PathLike, data: str | None
) -> tuple["tf.data.Dataset", dict[str, str]]:
    """Return the test split of the run's data, or of other sources, as the model declares it; and the sources."""
    from kerasgen.data import LOADERS
    from kerasgen.data.loading import halves_of

    arguments = data_of(run)
    if arguments is None:
        raise UserError(f"{run} doesn't say how its data was loaded: give a run folder, or a preset's name.")
    given: Sequence[str] = data.split(",") if data else []
    fitting = (known for known in model.loaders if len(known.sources) == len(given))
    loader = model.loader_for(arguments) or next(fitting, None)
    if loader is None:
        raise UserError(f"{run} names no data source: give --data, or two sources separated by a comma.")
    if len(given) == 1 < len(loader.sources) and given[0].startswith("side_by_side:"):
        given = halves_of(given[0])
    if data and len(given) != len(loader.sources):
        raise UserError(
            f"--data names {len(given)} sources, but this model needs {len(loader.sources)}, separated by commas."
        )
    arguments |= dict(zip(loader.sources, given, strict=False))
    return LOADERS[loader.name](**arguments, split="test"), {name: arguments[name] for name in loader.sources}


def _check_one_size(batches: Sequence[Mapping[str, "Tensor"]]) -> None:
    """Raise `UserError` unless the pictures of each domain have one size, in which they are compared."""
    for name in batches[0]:
        sizes = sorted({"×".join(map(str, batch[name].shape[1:3])) for batch in batches})
        if len(sizes) > 1:
            raise UserError(
                f"The test pictures of domain {name[-1].upper()} have different sizes, such as {sizes[0]} and "
                f"{sizes[-1]}, but distances are measured in one: give --data with pictures of one size."
            )


def _translation(model: "CycleGAN", run: str | os.PathLike, data: str | None, settings: Settings) -> Report:
    batches, sources = _test_split(model, run, data)
    batches = list(batches)
    _check_one_size(batches)
    images = {name: np.concatenate([b[name] for b in batches]) / 2 + 0.5 for name in batches[0]}
    rows: dict[str, Row] = {}
    named, missing = [], []
    for direction, (source, target) in {"a2b": ("a", "b"), "b2a": ("b", "a")}.items():
        extractor, why_not = _extractor(sources[f"source_{target}"], settings.features)
        if extractor:
            named.append(f"{direction}: {extractor.name}")
        else:
            missing.append(why_not)
        translated = model.translate(images[source] * 2 - 1, direction) / 2 + 0.5
        for name, pictures in ((direction, translated), (f"{direction}, untouched", images[source])):
            row = _fidelity(pictures, images.get(f"truth_{target}"))
            rows[name] = row | _to_target(pictures, images[target], extractor)
    report: Report = {"data": ",".join(sources.values()), "split": "test", "translation": rows}
    features = {"features": "; ".join(named), "no_features": " ".join(dict.fromkeys(missing))}
    return report | {name: said for name, said in features.items() if said}


def _fidelity(pictures: np.ndarray, truth: np.ndarray | None) -> Row:
    from kerasgen.metrics.images import psnr

    row: Row = {"n": len(pictures), "psnr": None, "ssim": None}
    if truth is not None:
        similar = _ssims(pictures, truth)
        row |= {"psnr": float(psnr(pictures, truth).mean()), "ssim": float(similar.mean()) if similar.size else None}
    return row


def _ssims(pictures: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return SSIM of each picture; nothing of pictures that are smaller than its window."""
    from kerasgen.metrics.images import ssim

    return ssim(pictures, truth) if min(pictures.shape[1:3]) >= 11 else np.zeros(0)


def _to_target(pictures: np.ndarray, target: np.ndarray, extractor: "Extractor | None") -> Row:
    from kerasgen.metrics.distances import kernel_distance

    if extractor is None:
        return {"kernel": None}
    return {"kernel": kernel_distance(extractor.features(target), extractor.features(pictures)).mean}


# -- a model's own score ------------------------------------------------------------------------------------


def _score(model: "GenerativeModel", run: str | os.PathLike, data: str | None, settings: Settings) -> Report:
    """Return what a model says of itself, on the test split of its data."""
    batches, sources = _test_split(model, run, data)
    return {"data": ",".join(sources.values()), "split": "test", "score": model.score(batches)}


def _pairs(model: "PairedTranslator", run: str | os.PathLike, data: str | None, settings: Settings) -> Report:
    """Return what a model says of itself and, where the truth is known, how alike its answers look."""
    from kerasgen.models.pair_tasks import untouched

    dataset, sources = _test_split(model, run, data)
    batches = [{name: np.asarray(value) for name, value in batch.items()} for batch in dataset]
    report: Report = {"data": ",".join(sources.values()), "split": "test", "score": model.score(batches)}
    if not batches or "b" not in batches[0]:
        return report
    rows: dict[str, list[np.ndarray]] = {"answers": [], "untouched": []}
    for batch in batches:
        rows["answers"].append(model.translate(batch["a"]) / 2 + 0.5)
        rows["untouched"].append(untouched(batch["a"], batch["b"]).numpy() / 2 + 0.5)
    truth = [batch["b"] / 2 + 0.5 for batch in batches]
    return report | {"likeness": {name: _likeness(made, truth) for name, made in rows.items()}}


def _likeness(made: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> Row:
    """Return SSIM, and the kernel distance in the answers of fixed filters, where pictures are large enough.

    Args:
        made: batches of pictures; those of one batch have one size.
        truth: batches as large.
    """
    from kerasgen.metrics.distances import kernel_distance
    from kerasgen.metrics.filter_bank import filter_bank_features, takes

    made, count = [pictures.clip(0, 1) for pictures in made], sum(map(len, made))
    similar = np.concatenate([_ssims(*pair) for pair in zip(made, truth, strict=True)])
    row: Row = {"n": count, "ssim": float(similar.mean()) if similar.size else None, "kernel": None}
    if len({pictures.shape[1:] for pictures in truth}) == 1 and takes(truth[0].shape) and count > 1:
        ours, theirs = (filter_bank_features(np.concatenate(pictures)) for pictures in (made, truth))
        row["kernel"] = kernel_distance(theirs, ours).mean
    return row


# By what models declare; a new kind of evaluation is a function, and its line here.
_EVALUATIONS: dict[str, Callable[..., Report]] = {
    "generation": _generation,
    "pictures": _made_pictures,
    "translation": _translation,
    "pairs": _pairs,
    "score": _score,
}
