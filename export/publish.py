"""Export, gate, publish: an artifact appears under its name only when it is proven."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerasgen.errors import UserError
from kerasgen.files import atomic_write

from .contract.calibration import Calibration, read_calibration
from .contract.golden import golden_pair
from .contract.inputs import check_sizes, network_and_inputs
from .contract.signature import Signature
from .contract.spec import ImageSpec
from .formats.registry import Request, artifact_path, find_format, signatures_of
from .gate.gate import SIGNATURE, GateError, Inspection, inspect, tolerance_text
from .gate.runtime import Arrays

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
        parity: the largest difference from Keras, on how many examples, and each signature's check with its limit.
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
    *,
    inputs: Any = None,
    calibration: Any = None,
    image: ImageSpec | None = None,
    also: Mapping[str, Any] | None = None,
    layout: str | None = None,
    opset: int | None = None,
    license: str = "",
) -> Artifact:
    """Export a Keras model, prove the artifact equal to it in a fresh process, and publish it atomically.

    The artifact is loaded by its own runtime (a TensorFlow V1 session as TensorFlow Serving makes it, LiteRT,
    ONNX Runtime) in a process that imports neither Keras nor kerasgen. It must load, have the signature
    "serving_default" with the model's own input and output names, consist of built-in operators, hold its weights
    (and a SavedModel not more than 1.1 times their bytes), be finite, and differ from Keras by at most 1e-4, or by
    one level where it gives uint8 pictures. A variant that rounds its weights must be as small as that promises, and
    reach a PSNR instead: 60 dB for "float16", 33 dB for "dynamic_int8", 29 dB for "static_int8". A model of mixed
    precision is exported in float32.

    Args:
        model: any built Keras model on the TensorFlow backend.
        path: "saved_models/digits" becomes `saved_models/digits.onnx` and so on; a manifest stands beside it.
        format: one of `available_formats()`.
        variant: one of the format's.
        inputs: a batch of real inputs (an array, list, or dict by name) as the model takes them, to compare on;
            with `image`, pictures may be uint8. By default seeded values. TFLite fixes sizes that the model leaves
            open to theirs. A subclassed model whose inputs Keras didn't record needs them.
        calibration: for "static_int8" alone, which needs it: about 100 real inputs, as a batch like `inputs` or an
            iterable of batches such as a tf.data.Dataset. Their SHA-256 and count go into the manifest; `inputs`
            are the first 16 of them by default.
        image: makes pictures enter and leave as uint8. A SavedModel then has more signatures: "float" (the model
            itself), "bytes" (PNG or JPEG files to PNG files, if one picture becomes one picture), and "generate"
            (a seed and a count to pictures, if a latent, called z or the only input, becomes pictures).
        also: SavedModel only: further models by the name of their signature, or pairs of a model and a batch of its
            inputs; they share the variables that they have in common with `model`.
        layout: ONNX only: "nhwc", Keras' own and the default, or "nchw".
        opset: ONNX only: 13 to 22; 18 by default.
        license: of the weights, such as "CC-BY-4.0", for the manifest.

    Raises:
        UserError: an argument doesn't fit, or the path can't be written.
        GateError: the artifact failed a check; what stood at the path before is untouched.
    """
    module = find_format(format, variant, {"also": also, "layout": layout, "opset": opset})
    if layout not in (None, "nhwc", "nchw"):
        raise UserError(f"There is no layout {layout!r}: choose 'nhwc' or 'nchw'.")
    network, arrays = network_and_inputs(model, inputs, image)
    examples = read_calibration(network, variant, calibration, None if inputs is None else arrays, image)
    arrays = examples.batch(16) if examples and inputs is None else arrays
    others = {name: _network_of(other, image) for name, other in (also or {}).items()}
    also_networks = {name: other for name, (other, _) in others.items()}
    signatures = signatures_of(module, network, image, also_networks, layout or "nhwc")
    sent = {name: s.examples(others[name][1] if name in others else arrays) for name, s in signatures.items()}
    check_sizes(signatures[SIGNATURE], sent[SIGNATURE])
    notes = _notes(signatures, sent[SIGNATURE], format, variant, license, examples)
    request = Request(
        signatures, variant, sent[SIGNATURE], examples and examples.sent_to(signatures[SIGNATURE]), opset, notes
    )
    target = artifact_path(Path(path), module, variant)
    with atomic_write(target) as temporary:
        module.export(request, temporary)
        inspection = inspect(format, variant, temporary, signatures, sent)
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
            "checks": {c.name: c.found for c in inspection.checks if c.name.startswith("parity")},
        },
        manifest=manifest_path(target),
    )
    _write_manifest(artifact, notes, inspection)
    return artifact


def _network_of(other: Any, image: ImageSpec | None) -> tuple[Signature, Arrays]:
    model, inputs = other if isinstance(other, tuple) else (other, None)
    return network_and_inputs(model, inputs, image)


def _notes(
    signatures: dict[str, Any], sent: Arrays, format: str, variant: str, license: str, calibration: Calibration | None
) -> dict[str, Any]:
    """Return what a client must know, kept inside the artifact too."""
    main = signatures[SIGNATURE]
    return {
        "network": main.model.name,
        "format": format,
        "variant": variant,
        "layout": main.layout,
        "image": main.image.describe() if main.image else None,
        "pictures": sorted(main.pictures),
        "tolerance": tolerance_text(variant, bool(main.pictures)),
        "golden": golden_pair(main, sent),
        "calibration": calibration.describe() if calibration else None,
        "license": license or "not stated",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


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


def _write_manifest(artifact: Artifact, notes: dict[str, Any], inspection: Inspection) -> None:
    found = {name: inspection.description[name] for name in ("runtime", "runtime_floor", "operators")}
    content = {**asdict(artifact), "path": artifact.path.name, **notes, **found}
    del content["manifest"]
    with atomic_write(artifact.manifest) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_manifest(path: Path) -> dict:
    """Return the manifest of an artifact, after a look whether it is this artifact's.

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
