"""Check a published artifact against its Keras model again, on the user's own inputs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError

from .contract.calibration import read_calibration
from .contract.inputs import check_sizes, network_and_inputs
from .contract.manifest import read_manifest
from .contract.served import main_signature
from .contract.spec import ImageSpec
from .formats.refusal import refusing, refusing_inputs
from .formats.registry import FormatModule, Request, checked_options, find_format, format_of, signatures_of
from .gate.forks import imported_once
from .gate.gate import SIGNATURE, Again, Check, Inspected, Inspection, inspect, tolerance_text
from .gate.parity import greatest_difference, psnr
from .gate.process import FreshProcess, RuntimeFailure
from .publish import float32_form

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Comparison:
    """One output of an artifact beside Keras', example by example.

    Attributes:
        name: of the output.
        max_abs, mean_abs: the largest and the mean absolute difference of each example: [n], in levels if the output
            is uint8.
        psnr: of each example in dB: [n]; the peak is 255, or the range of Keras' output.
        ssim: of each picture: [n]; None if the output holds no pictures, or they are smaller than 11 pixels.
        keras, artifact: both outputs, NHWC.
    """

    name: str
    max_abs: np.ndarray
    mean_abs: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray | None
    keras: np.ndarray
    artifact: np.ndarray

    @property
    def worst(self) -> np.ndarray:
        """The examples, those with the lowest PSNR first."""
        return np.argsort(self.psnr)


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        path: the artifact.
        passed: whether every check passed.
        checks: the checks, each with what was found.
        max_difference: the largest absolute difference from Keras' outputs.
        comparisons: one for each output of `serving_default`; empty if it couldn't be run.
    """

    path: Path
    passed: bool
    checks: list[Check]
    max_difference: float
    comparisons: list[Comparison]


def verify(
    path: str | os.PathLike, model: "keras.Model", inputs: object = None, calibration: object = None
) -> Report:
    """Run an artifact in a fresh process and compare it with a Keras model.

    A variant that rounds is compared as the gate compares it: the float32 form is made from the model again and must
    pass, the artifact must stay within its PSNR of that form, and its error must be noise. Here the same rounding is
    done once more too, and the artifact is compared with that: both are shifted alike, so that what is left shows
    even a gain of 1% or an offset of 0.01 that the artifact lost. With another calibration than the export's a
    static variant is shifted a little differently, and the bound is as loose as the gate's.

    Args:
        path: an artifact that `export_model` published.
        model: the Keras model that it should equal.
        inputs: a batch of real inputs as the model takes them; pictures may be uint8 if the artifact takes those. By
            default seeded values.
        calibration: for a variant that measures activations: what it was exported with, or the like; `inputs` by
            default.

    Raises:
        UserError: the path is not an artifact, its bytes are not those of its manifest, or an argument doesn't fit.
    """
    path = values.path("The artifact", path)
    format_name, manifest = format_of(path), read_manifest(path)
    module = find_format(format_name, manifest["variant"])
    form, kind = module.FORMAT, module.FORMAT.variant(manifest["variant"])
    image = spec_of(manifest)
    with refusing(model, form):
        network, arrays = network_and_inputs(model, inputs, image, form)
        signatures = signatures_of(form, network, image, {}, manifest["layout"])
    sent = {name: signature.examples(arrays) for name, signature in signatures.items()}
    main = main_signature(signatures)
    check_sizes(main, sent[SIGNATURE])
    with refusing_inputs(model, arrays):
        keras = {name: signature.reference(sent[name]) for name, signature in signatures.items()}
    artifact = Inspected(format_name, form, kind, path, signatures, sent, keras)
    given = calibration if calibration is not None or not kind.calibrated else arrays
    measured = read_calibration(network, kind, given, arrays, image)
    options = checked_options(format_name, manifest["options"])
    request = Request(signatures, kind.name, sent[SIGNATURE], measured and measured.sent_to(main), options)
    with refusing(model, form), imported_once():
        same = manifest.get("calibration") == (measured and measured.describe())
        inspection = _inspected(module, request, artifact, same)
    checks = [*inspection.checks, _check_manifest(manifest, artifact, inspection)]
    outputs = inspection.outputs.get(SIGNATURE, {})
    return Report(
        path,
        all(check.passed for check in checks),
        checks,
        inspection.max_difference,
        [
            _compared(name, main.as_network(value), main.as_network(keras[SIGNATURE][name]))
            for name, value in outputs.items()
            if value.shape == keras[SIGNATURE][name].shape
        ],
    )


def _inspected(module: FormatModule, request: Request, artifact: Inspected, same: bool) -> Inspection:
    """Inspect an artifact; one that rounds beside the model's float32 form and the same rounding of that."""
    if not artifact.variant.rounded:
        return inspect(artifact, partly=True)
    with float32_form(module, request, artifact) as (source, form):
        if not form.passed:
            found = "; ".join(f"{check.name}: {check.found}" for check in form.checks if not check.passed)
            return Inspection([Check("float32 form", False, found)], {}, float("inf"), {})
        again = source.with_name(f"again{artifact.form.suffix}")
        module.rounded(request, source, again)
        try:
            with FreshProcess(artifact.name, again) as process:
                outputs = process.run(SIGNATURE, artifact.sent[SIGNATURE])
        except RuntimeFailure as failure:
            return Inspection([Check("float32 form", False, f"rounded again: {failure}")], {}, float("inf"), {})
        return inspect(artifact, form.outputs, Again(outputs, same), partly=True)


def _check_manifest(manifest: dict, artifact: Inspected, inspection: Inspection) -> Check:
    """Compare what the manifest claims with what the artifact holds and what its format promises."""
    main = main_signature(artifact.signatures)
    notes = inspection.description.get("notes", {})
    wrong = [name for name, value in notes.items() if manifest.get(name) != value]
    claims = {
        "format": artifact.name,
        "tolerance": tolerance_text(artifact.variant, bool(main.pictures)),
        "pictures": sorted(main.pictures),
        "signatures": inspection.description.get("signatures"),
        "operators": inspection.description.get("operators"),
        "runtime_floor": inspection.description.get("runtime_floor"),
    }
    wrong += [name for name, value in claims.items() if inspection.description and manifest.get(name) != value]
    missing = inspection.description and not {"variant", "license", "golden", "layout"} <= set(notes)
    said = ", ".join(sorted(set(wrong))) or ("the notes inside are missing" if missing else "nothing")
    return Check("manifest", not wrong and not missing, f"differs from the artifact: {said}")


def spec_of(manifest: dict) -> ImageSpec | None:
    """Return the `ImageSpec` that an artifact was exported with."""
    described = manifest["image"]
    if described is None:
        return None
    try:
        size = None if described["size"] == [None, None] else tuple(described["size"])
        value_range, multiple = tuple(described["value_range"]), described["multiple_of"]
        return ImageSpec(size, value_range, multiple, tuple(manifest["pictures"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"The manifest doesn't say how pictures enter ({error}): export the model again.") from error


def _compared(name: str, found: np.ndarray, expected: np.ndarray) -> Comparison:
    pairs = list(zip(np.atleast_1d(found), np.atleast_1d(expected), strict=True))
    return Comparison(
        name,
        max_abs=np.array([greatest_difference(f, e) for f, e in pairs]),
        mean_abs=np.array([np.abs(f.astype("float64") - e.astype("float64")).mean() for f, e in pairs]),
        psnr=np.array([psnr(f, e) for f, e in pairs]),
        ssim=_ssim(found, expected),
        keras=expected,
        artifact=found,
    )


def _ssim(found: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
    import tensorflow as tf

    if expected.ndim != 4 or min(expected.shape[1:3]) < 11 or expected.dtype == bool:  # SSIM's window
        return None
    peak = 255.0 if expected.dtype == np.uint8 else max(1.0, float(np.ptp(expected)))
    low = 0.0 if expected.dtype == np.uint8 else float(expected.min())
    return tf.image.ssim(found.astype("float32") - low, expected.astype("float32") - low, peak).numpy()
