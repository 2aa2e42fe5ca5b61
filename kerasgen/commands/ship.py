"""From a trained model on disk to what `kerasgen.export` takes: its networks, and real inputs for them."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from kerasgen.commands.conditions import known_numbers
from kerasgen.commands.translate import ranges_of
from kerasgen.errors import UserError
from kerasgen.networks.unet import without_noise
from kerasgen.runs import data_of, load_model
from kerasgen.typing import Tensor
from kerasgen.values import pixels

if TYPE_CHECKING:
    import keras

    from kerasgen.export import ImageSpec, Measurement, Report
    from kerasgen.models import GenerativeModel
    from kerasgen.models.declarations import ExportedNetwork

_COMPARED, _CALIBRATED = 16, 100  # examples
_SIDE = 256  # pixels, for a network of any size and pictures of any size


@dataclass(frozen=True)
class Shipment:
    """One network that is worth an artifact, with the arguments of `export_model` that fit it.

    Attributes:
        name: of the artifact.
        network: the Keras network.
        inputs: real inputs, or None for seeded ones.
        image: how pictures enter and leave; None for floats.
        also: further signatures of its SavedModel.
        calibration: more inputs, none of which is compared on where there are enough; None for seeded ones.
        floats_said: what to tell a user whose pictures stay floats though nobody asked for that; "" otherwise.
        size_said: what to tell a user for whom formats of fixed sizes get one that nobody asked for; "" otherwise.
        labels: what its input `label` says, if it has one.
    """

    name: str
    network: "keras.Model"
    inputs: Tensor = None
    image: "ImageSpec | None" = None
    also: "dict[str, tuple[keras.Model, Tensor]]" = field(default_factory=dict)
    calibration: Tensor = None
    floats_said: str = ""
    size_said: str = ""
    labels: Literal["classes", "attributes"] = "classes"

    def options(self, format: str, variant: str = "float32") -> dict[str, Tensor]:
        """Return arguments of `export_model` for an artifact of this network."""
        from kerasgen.export.formats.registry import find_format

        options = {"inputs": self.inputs, "image": self.image}
        options |= {"also": self.also or None} if find_format(format).FORMAT.several_signatures else {}
        calibrated = find_format(format, variant).FORMAT.variant(variant).calibrated
        return options | ({"calibration": self.calibration} if calibrated else {})


def shipments(
    path: str | os.PathLike,
    images: str | os.PathLike | None = None,
    size: int | None = None,
    floats: bool = False,
    value_range: tuple[float, float] | None = None,
    open_size: int | None = None,
    condition: Sequence[str] | None = None,
) -> list[Shipment]:
    """Return the networks of a trained model.

    Args:
        path: a run folder, or a `.keras` file of any Keras model.
        images: a folder of pictures to compare on. None takes validation images of the run, and seeded values for a
            file that belongs to no run.
        size: pixels of the square pictures; None takes the model's own.
        floats: leaves pictures floats, instead of uint8 outside the artifact.
        value_range: what 0 and 255 are inside a model that isn't of this zoo; without it, its pictures stay floats.
        open_size: the size where neither `size` nor the model says one.
        condition: what is known of all pictures, such as "tone=dark", so that the network takes pictures alone; what
            isn't given is unknown. None leaves what is known among the inputs.

    Raises:
        UserError: there is no such model or folder, or an argument doesn't fit.
    """
    from kerasgen.models import GenerativeModel

    model = load_model(path)
    trained_on = None if condition is None else data_of(path)
    numbers = [] if condition is None else known_numbers(trained_on, condition)
    if not isinstance(model, GenerativeModel):
        sides = getattr(model, "input_shape", None)
        if open_size and isinstance(sides, tuple) and len(sides) == 4 and None in sides[1:3]:
            size = size or open_size
        return [_foreign(Path(path), model, images, size, None if floats else value_range, floats)]
    if value_range is not None:
        raise UserError(f"A {type(model).__name__} has the range {model.image_range} of its own: leave --range out.")
    if numbers:  # lines of another thickness are strange to what was told of drawings
        size = size or (trained_on or {}).get("image_size")
    size = size or (open_size if model.picture_shape[0] is None else None)
    # What no picture file holds, such as seven bands, enters and leaves as floats.
    floats = floats or model.picture_shape[2] - len(numbers) not in (1, 3, 4)
    spec = None if floats else _spec(size, model.image_range, model.image_multiple)
    examples, calibration = (
        {} if batch is None else model.example_inputs(batch) for batch in _batches(Path(path), model, images, size)
    )

    def compared(name: str, exported: "ExportedNetwork") -> Tensor:
        if name in examples or size is None or not floats or exported.not_pictures:
            return examples.get(name)
        return _seeded(exported.network, size, model.image_range, model.image_multiple)

    found = [
        Shipment(
            name,
            exported.network,
            compared(name, exported),
            None if exported.not_pictures else spec,
            {other: (network, examples.get(other)) for other, network in exported.also.items()},
            calibration.get(name),
            labels=exported.labels,
        )
        for name, exported in model.networks_to_export().items()
    ]
    return [_told(shipment, numbers) for shipment in found] if numbers else found


def _told(shipment: Shipment, numbers: Sequence[float]) -> Shipment:
    """Return a shipment of the network that takes pictures alone, because all else is settled."""
    from kerasgen.networks.told import told

    def pictures(batch: Tensor) -> Tensor:
        return None if batch is None else batch[..., : -len(numbers)]

    inputs, calibration = pictures(shipment.inputs), pictures(shipment.calibration)
    return replace(shipment, network=told(shipment.network, numbers), inputs=inputs, calibration=calibration)


def export_each(
    shipment: Shipment,
    folder: Path,
    wanted: Sequence[tuple[str, str]],
    license: str = "",
    options: Mapping[str, str | int | None] | None = None,
) -> "tuple[list[Path], dict[str, UserError]]":
    """Export a network in several formats and variants; one that fails doesn't keep the others from being written.

    Args:
        shipment: the network.
        folder: to write to.
        wanted: pairs of a format and a variant.
        license: of the weights.
        options: of the formats, by name; None counts as not given.

    Returns:
        The artifacts that stand, and the errors of the others by what they are.
    """
    from kerasgen.export import export_model
    from kerasgen.export.formats.registry import options_of

    paths, failed = [], {}
    for format, variant in wanted:
        given = shipment.options(format, variant) | {"license": license} | options_of(format, dict(options or {}))
        try:
            paths.append(export_model(shipment.network, folder / shipment.name, format, variant, **given).path)
        except UserError as error:
            failed[f"{shipment.name} as {format} in {variant}"] = error
    return paths, failed


def _foreign(
    path: Path,
    model: "keras.Model",
    images: str | os.PathLike | None,
    size: int | None,
    value_range: tuple[float, float] | None,
    floats: bool,
) -> Shipment:
    """Return a Keras model that this zoo doesn't know: with pictures if they are asked for."""
    shape: Tensor = getattr(model, "input_shape", None)
    takes_pictures = isinstance(shape, tuple) and len(shape) == 4
    if images is not None and not takes_pictures:
        raise UserError(f"{path} takes inputs of the shape {shape}, which are not pictures: leave --images out.")
    if takes_pictures and size is not None:
        _check_size(path, shape[1:3], size)
    elif size is not None and value_range is None:
        raise UserError(f"{path} doesn't take one picture, but inputs of the shape {shape}: leave --size out.")
    low, high = value_range or (0.0, 1.0)
    inputs = calibration = None
    if images is not None:
        height, width, channels = shape[1:]
        pictures = read_pictures(images, (height or size or _SIDE, width or size or _SIDE), channels)
        inputs, calibration = (part * (high - low) + low for part in _parted(pictures))
    elif takes_pictures and size is not None:
        inputs = _seeded(model, size, (low, high), 1)
    spec = value_range and _spec(size, value_range, _multiple(model))
    said = ""
    if takes_pictures and spec is None and not floats:
        read = f"; --images was read in [{low:g}, {high:g}]" if images is not None else ""
        said = f"{path.stem} takes floats, because nothing says its pictures' range{read}: --range=LOW,HIGH says it."
    size_said = ""
    if takes_pictures and size is None and None in shape[1:3]:
        found = _SIDE if images is not None else 64
        size_said = (
            f"{path.stem} takes pictures of any size; TFLite takes one, here about {found} pixels: --size says it."
        )
    network = without_noise(model)
    return Shipment(path.stem, network, inputs, spec, calibration=calibration, floats_said=said, size_said=size_said)


def _check_size(path: Path, own: tuple[int | None, int | None], size: int) -> None:
    pixels("size", size)
    if any(side not in (None, size) for side in own):
        raise UserError(
            f"size is {size}, but {path} takes pictures of {own[0]}×{own[1]} pixels and no others: leave size out."
        )


def _multiple(model: "keras.Model") -> int:
    from kerasgen.models.translation import size_multiple

    return size_multiple(model) if None in model.input_shape[1:3] else 1


def _spec(size: int | None, value_range: tuple[float, float], multiple: int) -> "ImageSpec":
    from kerasgen.export import ImageSpec

    return ImageSpec(size, value_range, multiple)


def _seeded(network: "keras.Model", size: int, value_range: tuple[float, float], multiple: int) -> Tensor:
    """Return seeded inputs of a size, for a network that takes floats: they alone tell an artifact its size."""
    from kerasgen.export.contract.inputs import default_inputs
    from kerasgen.export.contract.signature import model_signature

    return default_inputs(model_signature(network), _spec(size, value_range, multiple))


def _batches(
    path: Path, model: "GenerativeModel", images: str | os.PathLike | None, size: int | None
) -> list[dict[str, np.ndarray] | None]:
    """Two batches as the model trains on, to compare and to calibrate on: of the folder, or of the run's own data."""
    if images is not None:
        height, width, channels = model.picture_shape
        low, high = model.image_range
        sides = (size or height or _SIDE, size or width or _SIDE)
        pictures = read_pictures(images, sides, channels, ranges_of(path)[0])
        return [{"image": part * (high - low) + low} for part in _parted(pictures)]
    arguments = data_of(path)
    loader = None if arguments is None else model.loader_for(arguments)
    if arguments is None or loader is None:
        return [None, None]
    from kerasgen.data import LOADERS

    load = LOADERS[loader.name]
    batches: list[dict[str, np.ndarray] | None] = []
    for split, count in (("test", _COMPARED), ("train", _CALIBRATED)):
        dataset = load(split=split, **arguments)
        batch = next(iter(dataset.unbatch().batch(count)))
        batch = {name: value.numpy() for name, value in batch.items()}
        batches.append({n: _resized(v, size) if size and v.ndim == 4 else v for n, v in batch.items()})
    return batches


def _parted(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what to compare on and what to calibrate on; the same where there are too few for both."""
    rest = pictures[_COMPARED:]
    return pictures[:_COMPARED], rest if len(rest) else pictures


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    import tensorflow as tf

    low, high = float(images.min()), float(images.max())
    return np.clip(tf.image.resize(images, (size, size), "bicubic", antialias=True).numpy(), low, high)


def read_pictures(
    folder: str | os.PathLike, sides: tuple[int, int], channels: int, known: tuple[float, float] | None = None
) -> np.ndarray:
    """Return 116 pictures of a folder, cut to one size: float32 [n, height, width, channels] in [0, 1].

    They are drawn from all of it, always the same: the first ones of a folder of classes would be of one.

    Args:
        folder: PATH, or PATH?range=LOW..HIGH, black and white of deep pictures.
        sides: height and width.
        channels: of each picture.
        known: black and white, where the folder doesn't say them.

    Raises:
        UserError: there is no such folder, or no picture that can be read.
    """
    from kerasgen.data.reading import PictureError, read_picture, to_float
    from kerasgen.data.scanning import READABLE, scan
    from kerasgen.data.sources.folder import parse
    from kerasgen.data.sources.source import Fit

    root, value_range = parse(str(folder))
    pictures: list[np.ndarray] = []
    files = scan(root).files
    for place in np.random.default_rng(0).permutation(len(files)):
        if len(pictures) == _COMPARED + _CALIBRATED:
            break
        path = files[place].path
        try:
            pictures.append(to_float(read_picture(path, Fit("cut", sides), channels, value_range or known)))
        except PictureError as error:
            warnings.warn(f"{error} It is left out.", stacklevel=2)
    if not pictures:
        raise UserError(f"The folder {root} holds no readable picture: put some there, in {READABLE}.")
    return np.stack(pictures)


def verify_artifact(
    artifact: str | os.PathLike,
    against: str | os.PathLike,
    images: str | os.PathLike | None = None,
    condition: Sequence[str] | None = None,
) -> "tuple[Report, ImageSpec | None]":
    """Compare an artifact with the network of a trained model that it was exported from.

    Args:
        artifact: what `export_model` published.
        against: a run folder, or a `.keras` file.
        images, condition: as in `shipments`.

    Returns:
        The report, and how the artifact's pictures are to be read.

    Raises:
        UserError: there is no such artifact, or the model has no network of that name.
    """
    from kerasgen.export import read_manifest, spec_of, verify

    shipment = _origin(Path(artifact), against, images, condition)
    manifest = read_manifest(Path(artifact))
    calibration = shipment.calibration if manifest.get("calibration") else None
    return verify(artifact, shipment.network, shipment.inputs, calibration), spec_of(manifest)


def measured_against(
    artifacts: Sequence[str | os.PathLike], against: str | os.PathLike, condition: Sequence[str] | None = None
) -> "list[Measurement]":
    """Measure artifacts of one network beside the model that they were exported from.

    Raises:
        UserError: as `verify_artifact`; or the artifacts are of different networks or sizes.
    """
    from kerasgen.export import benchmark

    shipment = _origin(Path(artifacts[0]), against, None, condition)
    return benchmark(artifacts, shipment.network, shipment.inputs)


def _origin(
    artifact: Path,
    against: str | os.PathLike,
    images: str | os.PathLike | None,
    condition: Sequence[str] | None,
) -> Shipment:
    """Return the network that an artifact was made from, with inputs of the artifact's size."""
    from kerasgen.export import read_manifest

    manifest = read_manifest(artifact)
    shape = next(iter(manifest["signatures"]["serving_default"]["inputs"].values()))["shape"]
    shape = [shape[axis] for axis in (0, 2, 3, 1)] if manifest["layout"] == "nchw" and len(shape) == 4 else shape
    size = shape[1] if len(shape) == 4 else None
    if size is not None:
        pixels("The size of the artifact's pictures", size)
    known = shipments(against, images, size, floats=True, condition=condition)
    named = {shipment.network.name: shipment for shipment in known}
    if manifest["network"] not in named:
        raise UserError(
            f"{artifact} was made from the network {manifest['network']!r}, but {against} has only "
            f"{', '.join(named)}: give the model that it was exported from."
        )
    found = named[manifest["network"]]
    (takes, *more), given = found.network.inputs, shape[-1]
    if not more and takes.shape[-1] != given:
        raise UserError(
            f"{artifact} takes {given} channels, but the network of {against} takes {takes.shape[-1]}: give the "
            "--condition that it was exported with, or none where there was none."
        )
    return found


def worst_picture(report: "Report", spec: "ImageSpec | None", n: int = 3) -> np.ndarray | None:
    """Return the n examples that differ most as one picture: Keras, the artifact, 8 times their difference.

    Args:
        report: of `verify`.
        spec: what a float picture's black and white are; [0, 1] without it.
        n: how many.

    Returns:
        uint8 [height, width, 3], or None if the artifact gives no gray or RGB pictures.
    """
    from kerasgen.drawing import side_by_side

    compared = next((c for c in report.comparisons if c.keras.ndim == 4 and c.keras.shape[-1] in (1, 3)), None)
    if compared is None:
        return None
    low, high = (0.0, 255.0) if compared.keras.dtype == np.uint8 else spec.value_range if spec else (0.0, 1.0)
    worst = compared.worst[:n]
    ours, theirs = (
        (images[worst].astype("float64") - low) / (high - low) for images in (compared.keras, compared.artifact)
    )
    return side_by_side({"Keras": ours, "artifact": theirs, "difference x 8": np.abs(ours - theirs) * 8})
