"""Export, gate, publish: an artifact appears under its name only when it is proven."""

import hashlib
import importlib.metadata
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerasgen.errors import UserError
from kerasgen.files import atomic_write

from ._calibration import Calibration, read_calibration
from ._formats import artifact_path, find_format
from ._gate import SIGNATURE, GateError, Inspection, inspect
from ._signature import network_and_inputs

_PACKAGES = (
    "kerasgen",
    "keras",
    "tensorflow",
    "onnx",
    "tf2onnx",
    "onnxruntime",
    "ai-edge-litert",
    "ai-edge-quantizer",
)


@dataclass(frozen=True)
class Artifact:
    """A published artifact.

    Attributes:
        path: the file, or a SavedModel's folder.
        format: "saved_model", "tflite" or "onnx".
        variant: "float32", or one that rounds the weights.
        sha256: of the file, or of a folder's files in the order of their names.
        bytes: its size.
        signatures: by name, the shapes and dtypes of inputs and outputs.
        parity: the largest difference from Keras, on how many examples, and the check with its limit.
        manifest: the JSON file beside it that says all of this.
    """

    path: Path
    format: str
    variant: str
    sha256: str
    bytes: int
    signatures: dict[str, dict]
    parity: dict[str, Any]
    manifest: Path


def export_model(
    model: Any,
    path: str | os.PathLike,
    format: str = "saved_model",
    variant: str = "float32",
    inputs: Any = None,
    calibration: Any = None,
) -> Artifact:
    """Export a Keras model, prove the artifact equal to it in a fresh process, and publish it atomically.

    The artifact is loaded by its own runtime (a TensorFlow V1 session as TensorFlow Serving makes it, LiteRT,
    ONNX Runtime) in a process that imports neither Keras nor kerasgen. It must load, have the signature
    "serving_default" with the model's own input and output names, consist of built-in operators, hold its weights
    (and a SavedModel not more than 1.1 times their bytes), be finite, and differ from Keras by at most 1e-4.
    A variant that rounds its weights must be as small as that promises, and reach a PSNR instead: 60 dB for
    "float16", 33 dB for "dynamic_int8", 29 dB for "static_int8".

    Args:
        model: any built Keras model on the TensorFlow backend.
        path: "saved_models/digits" becomes `saved_models/digits.onnx` and so on; a manifest stands beside it.
        format: one of `available_formats()`.
        variant: one of the format's.
        inputs: a batch of real inputs (an array, list, or dict by name) to compare on; by default seeded
            values. TFLite fixes sizes that the model leaves open to theirs, or else to 64. A subclassed model
            whose inputs Keras didn't record needs them.
        calibration: for "static_int8" alone, which needs it: about 100 real inputs, as a batch like `inputs` or an
            iterable of batches such as a tf.data.Dataset. Their SHA-256 and count go into the manifest; `inputs`
            are the first 16 of them by default.

    Raises:
        UserError: an argument doesn't fit, or the path can't be written.
        GateError: the artifact failed a check; what stood at the path before is untouched.
    """
    module = find_format(format, variant)
    network, arrays = network_and_inputs(model, inputs)
    examples = read_calibration(network, variant, calibration, None if inputs is None else arrays)
    options = {}
    if examples is not None:
        options = {"calibration": examples}
        arrays = examples.batch(16) if inputs is None else arrays
    target = artifact_path(Path(path), module, variant)
    with atomic_write(target) as temporary:
        module.export(network, temporary, variant, arrays, **options)
        inspection = inspect(format, variant, temporary, network, arrays)
        _require(inspection, format)
        digest, size = digest_of(temporary)
    artifact = Artifact(
        path=target,
        format=format,
        variant=variant,
        sha256=digest,
        bytes=size,
        signatures=inspection.description["signatures"],
        parity={
            "max_difference": inspection.max_difference,
            "examples": len(next(iter(arrays.values()))),
            "check": next(c.found for c in inspection.checks if c.name == "parity"),
        },
        manifest=manifest_path(target),
    )
    _write_manifest(artifact, inspection, examples)
    return artifact


def manifest_path(path: Path) -> Path:
    """Where an artifact's manifest stands: beside it."""
    return path.with_name(path.name + ".manifest.json")


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 and size in bytes of a file, or of all files of a folder in the order of their names."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest(), sum(file.stat().st_size for file in files)


def _require(inspection: Inspection, format_name: str) -> None:
    failed = [check for check in inspection.checks if not check.passed]
    if failed:
        said = "; ".join(f"{check.name}: {check.found}" for check in failed)
        raise GateError(f"The {format_name} artifact failed a check and was not published ({said}).")


def _write_manifest(artifact: Artifact, inspection: Inspection, calibration: Calibration | None) -> None:
    content = asdict(artifact) | {
        "path": artifact.path.name,
        "signature": SIGNATURE,
        "runtime": inspection.description["runtime"],
        "operators": inspection.description["operators"],
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
    del content["manifest"]
    if calibration is not None:
        content["calibration"] = calibration.describe()
    with atomic_write(artifact.manifest) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_manifest(path: Path) -> dict:
    """The manifest of an artifact, after a look whether it is this artifact's.

    Raises:
        UserError: it is missing, or the artifact's bytes are not those that it was written for.
    """
    file = manifest_path(path)
    try:
        manifest = json.loads(file.read_text())
        recorded = manifest["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} is missing or damaged: export the model again.") from error
    if digest_of(path)[0] != recorded:
        raise UserError(f"{path} is not the artifact that its manifest was written for: export the model again.")
    return manifest
