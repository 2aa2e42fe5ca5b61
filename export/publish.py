"""Export, gate, publish: an artifact appears under its name only when it is proven."""

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError, a_kind
from kerasgen.files import atomic_write, scratch

from .contract.calibration import Calibration, read_calibration
from .contract.format import Format
from .contract.golden import golden_pair
from .contract.inputs import check_sizes, fixed_batch, network_and_inputs
from .contract.manifest import announce_manifest, digest_of, manifest_path, settle_manifest
from .contract.served import main_signature
from .contract.signature import Signature
from .contract.spec import ImageSpec
from .formats.refusal import refusing
from .formats.registry import (
    Request,
    artifact_path,
    checked_options,
    find_format,
    signatures_of,
)
from .gate.forks import imported_once
from .gate.gate import SIGNATURE, GateError, Inspected, Inspection, Signatures, inspect, tolerance_text
from .gate.runtime import Arrays

if TYPE_CHECKING:
    import keras

    from .formats.registry import FormatModule


class Parity(TypedDict):
    """How near to Keras an artifact is."""

    max_difference: float
    examples: int
    checks: dict[str, str]


@dataclass(frozen=True)
class Artifact:
    """A published artifact.

    Attributes:
        path: the file, or a SavedModel's folder.
        format: one of `available_formats()`.
        variant: "float32", or one that rounds the weights.
        sha256: of the file, or of a folder's files in the order of their names.
        bytes: its size.
        signatures: by name, the shapes and dtypes of inputs and outputs.
        parity: the largest difference from Keras, on how many examples, and each signature's check with its limit.
        manifest: the JSON file beside it that says all of this.
    """

    path: Path
    format: str
    variant: str
    sha256: str
    bytes: int
    signatures: dict[str, dict]
    parity: Parity
    manifest: Path


def export_model(
    model: "keras.Model",
    path: str | os.PathLike,
    format: str = "saved_model",
    variant: str = "float32",
    *,
    inputs: object = None,
    calibration: object = None,
    image: ImageSpec | None = None,
    also: "Mapping[str, keras.Model | tuple[keras.Model, object]] | None" = None,
    license: str = "",
    **options: str | int | None,
) -> Artifact:
    """Export a Keras model, prove the artifact equal to it in a fresh process, and publish it atomically.

    The artifact's operators are looked at before anything of it is run: each must be on its format's list of those
    that only compute. Then it is loaded by its own runtime (a TensorFlow V1 session as TensorFlow Serving makes it,
    LiteRT, ONNX Runtime) in a process that imports neither Keras nor kerasgen. It must load, have the signature
    "serving_default" with the model's own input and output names, hold its weights (and a SavedModel not more than
    1.1 times their bytes), be finite, and differ from Keras by at most 1e-4, or by one level where it gives uint8
    pictures. A variant that rounds its weights is made from a float32 form that has passed all of this in the same
    format. It must be as small as that promises, stay within a PSNR of that form (60 dB for "float16", 33 dB for
    "dynamic_int8", 29 dB for "static_int8"), and its error must be noise, not a bias. A model of mixed precision, or
    of float64, is exported in float32.

    Args:
        model: any built Keras model on the TensorFlow backend.
        path: "saved_models/digits" becomes `saved_models/digits.onnx` and so on; a manifest stands beside it.
        format: one of `available_formats()`.
        variant: one of the format's.
        inputs: a batch of real inputs (an array, list, or dict by name) as the model takes them, to compare on;
            with `image`, pictures may be uint8. By default seeded values. TFLite fixes sizes that the model leaves
            open to theirs. A subclassed model whose inputs Keras didn't record needs them.
        calibration: for a variant that measures activations, such as "static_int8", and needs it: about 100 real
            inputs, as a batch like `inputs` or an iterable of batches such as a tf.data.Dataset. Their SHA-256 and
            count go into the manifest; `inputs` are the first 16 of them by default.
        image: makes pictures enter and leave as uint8. A SavedModel then has more signatures: "float" (the model
            itself), "bytes" (PNG or JPEG files to PNG files, if one picture becomes one picture), and "generate"
            (a seed and a count to pictures, if a latent, called z or the only input, becomes pictures).
        also: SavedModel only: further models by the name of their signature, or pairs of a model and a batch of its
            inputs; they share the variables that they have in common with `model`.
        license: of the weights, such as "CC-BY-4.0", for the manifest.
        options: what the format declares. ONNX: `layout`, "nhwc", Keras' own and the default, or "nchw"; `opset`, 13
            to 22, 18 by default.

    Raises:
        UserError: an argument doesn't fit, the format lacks an operation of the model, or the path can't be written.
        GateError: the artifact failed a check; what stood at the path before is untouched.

    Example:
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        artifact = export_model(network, "saved_models/dense", format="onnx")  # saved_models/dense.onnx
    """
    target = values.path("path", path)
    module = find_format(format, variant)
    form, kind = module.FORMAT, module.FORMAT.variant(variant)
    chosen = checked_options(format, options)
    if image is not None and not isinstance(image, ImageSpec):
        raise UserError(f"image is {image!r}: give an ImageSpec, such as ImageSpec(value_range=(0, 1)).")
    if also is not None and not isinstance(also, Mapping):
        raise UserError(f"also is {a_kind(also)}: give a dict of models by the name of their signature.")
    if also and not form.several_signatures:
        raise UserError(f"{format} has no option 'also', but {', '.join(also)} was given: leave it out.")
    with refusing(model, form):
        network, arrays = network_and_inputs(model, inputs, image, form)
        others = {name: network_of(other, image, form) for name, other in (also or {}).items()}
        signatures = signatures_of(form, network, image, {n: o for n, (o, _) in others.items()}, _layout(chosen))
    examples = read_calibration(network, kind, calibration, None if inputs is None else arrays, image)
    arrays = examples.batch(fixed_batch(network) or 16) if examples and inputs is None else arrays
    sent = {name: s.examples(others[name][1] if name in others else arrays) for name, s in signatures.items()}
    main = main_signature(signatures)
    check_sizes(main, sent[SIGNATURE])
    target = artifact_path(target, form, variant)
    with refusing(model, form), imported_once(), atomic_write(target) as temporary:
        notes = _notes(main, sent[SIGNATURE], format, variant, chosen, license, examples)
        calibrated = examples and examples.sent_to(main)
        request = Request(signatures, variant, sent[SIGNATURE], calibrated, chosen, notes)
        keras = _answers(signatures, sent)
        try:
            proven = _proven(module, request, Inspected(format, form, kind, temporary, signatures, sent, keras))
        except GateError:
            _refuse_what_changes(main, sent[SIGNATURE], keras[SIGNATURE])
            if form.one_example and not fixed_batch(main):
                _refuse_what_mixes(main, sent[SIGNATURE], keras[SIGNATURE], form)
            raise
        digest, size = digest_of(temporary)
        artifact = Artifact(
            path=target,
            format=format,
            variant=variant,
            sha256=digest,
            bytes=size,
            signatures=proven.description["signatures"],
            parity={
                "max_difference": proven.max_difference,
                "examples": len(next(iter(arrays.values()))),
                "checks": {c.name: c.found for c in proven.checks if c.name.split()[0] in ("parity", "bias")},
            },
            manifest=manifest_path(target),
        )
        content = _manifest(artifact, notes, proven)
        announce_manifest(target, content)
    settle_manifest(target, content)
    return artifact


def network_of(
    other: "keras.Model | tuple[keras.Model, object]", image: ImageSpec | None, form: Format
) -> tuple[Signature, Arrays]:
    """Return the signature of one of the models in `also`, and the batch to compare it on."""
    model, inputs = other if isinstance(other, tuple) else (other, None)
    return network_and_inputs(model, inputs, image, form)


def _answers(signatures: Signatures, sent: dict[str, Arrays]) -> dict[str, Arrays]:
    """Return what Keras gives for a batch of each signature.

    Raises:
        UserError: a network changes its own variables when it is asked, which artifacts don't.
    """
    own = [s.model for s in signatures.values() if isinstance(s, Signature)]
    kept = {id(v): v for model in own for v in model.non_trainable_variables}
    before = {key: variable.numpy() for key, variable in kept.items()}
    answers = {name: s.reference(sent[name]) for name, s in signatures.items()}
    changed = [v.path for key, v in kept.items() if not np.array_equal(v.numpy(), before[key], equal_nan=True)]
    if changed:
        _refuse_what_changes(main_signature(signatures), sent[SIGNATURE], answers[SIGNATURE])
        raise UserError(
            f"{own[0].name!r} changes its own {changed[0]!r} whenever it is asked, which an artifact doesn't: let "
            "its layers do that in training only."
        )
    return answers


def _refuse_what_changes(signature: Signature, sent: Arrays, answer: Arrays) -> None:
    """Raise `UserError` if a network gives another answer each time, to which nothing can be equal."""
    again = signature.reference(sent)
    for name, value in answer.items():
        if not np.allclose(again[name], value, equal_nan=True):
            raise UserError(
                f"{signature.model.name!r} gives another {name!r} each time, as what draws random numbers does, so "
                "that no artifact can be equal to it: export the network that takes the latent code (a decoder), or "
                "the one that gives its mean and log variance (an encoder)."
            )


def _refuse_what_mixes(signature: Signature, sent: Arrays, answer: Arrays, form: Format) -> None:
    """Raise `UserError` if what a network gives for an example depends on the others of its batch."""
    for i in range(len(next(iter(sent.values())))):
        alone = signature.reference({name: value[i : i + 1] for name, value in sent.items()})
        for name, value in answer.items():
            # What isn't one part for each example is the same for all, or made of all of them.
            among = value[i : i + 1] if alone[name].shape[:1] == (1,) else value
            if not _are_near(alone[name], among):
                raise UserError(
                    f"{signature.model.name!r} gives another {name!r} for an example alone than among others: it "
                    f"mixes the examples of a batch, but {form.title} takes one at a time. Take its means over "
                    "height, width and channels, not over axis 0, or export it to another format."
                )


def _are_near(one: np.ndarray, two: np.ndarray) -> bool:
    apart = 1e-3 if two.dtype.kind == "f" else 1.0
    one, two = one.astype("float64"), two.astype("float64")
    return one.shape == two.shape and np.allclose(one, two, atol=apart, equal_nan=True)


def _layout(options: Mapping[str, str | int]) -> str:
    return str(options.get("layout", "nhwc"))


def _proven(module: "FormatModule", request: Request, artifact: Inspected) -> Inspection:
    """Write an artifact and prove it; one that rounds is made from a float32 form that is proven first."""
    if not artifact.variant.rounded:
        module.export(request, artifact.path)
        inspection = inspect(artifact)
    else:
        with float32_form(module, request, artifact) as (source, form):
            form.require(f"The float32 form of the {artifact.name} artifact")
            module.rounded(request, source, artifact.path)
            inspection = inspect(artifact, form.outputs)
    inspection.require(f"The {artifact.name} artifact")
    return inspection


@contextmanager
def float32_form(module: "FormatModule", request: Request, artifact: Inspected) -> Iterator[tuple[Path, Inspection]]:
    """Write what a rounded variant is made from to a temporary file, and give it with what the gate found."""
    with scratch() as folder:
        path = folder / f"float32{artifact.form.suffix}"
        module.export(request, path)
        yield path, inspect(artifact.float32_form(path))


def _notes(
    main: Signature,
    sent: Arrays,
    format: str,
    variant: str,
    options: Mapping[str, str | int],
    license: str,
    calibration: Calibration | None,
) -> dict[str, object]:
    """Return what a client must know, kept inside the artifact too."""
    form = find_format(format, variant).FORMAT
    return {
        "network": main.model.name,
        "format": format,
        "variant": variant,
        "layout": main.layout,
        "options": dict(options),
        "image": main.image.describe() if main.image else None,
        "pictures": sorted(main.pictures),
        "renamed": main.renamed,
        "tolerance": tolerance_text(form.variant(variant), bool(main.pictures)),
        "golden": golden_pair(main, sent),
        "calibration": calibration.describe() if calibration else None,
        "license": license or "not stated",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("kerasgen", "keras", *form.packages)},
    }


def _manifest(artifact: Artifact, notes: Mapping[str, object], inspection: Inspection) -> dict[str, object]:
    found = {name: inspection.description[name] for name in ("runtime", "runtime_floor", "operators")}
    content = {**asdict(artifact), "path": artifact.path.name, **notes, **found}
    del content["manifest"]
    return content
