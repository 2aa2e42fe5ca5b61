"""Export any Keras 3 network to SavedModel, TFLite and ONNX, proven equal to it before it is published.

    from kerasgen.export import export_model, verify, benchmark

    artifact = export_model(decoder, "saved_models/digits", format="onnx")
    assert verify(artifact.path, decoder).passed
    rows = benchmark([artifact.path])

One format is one file or folder in `formats/`: `FORMAT`, which declares its variants and options, `export()`,
`rounded()`, `import_runtime()`, `contents()` and `load()`. A program that exports much does it in a block `with
imported_once():`, which imports each runtime once for all its fresh processes.
"""

from .benchmark import Measurement, benchmark
from .contract.manifest import read_manifest
from .contract.spec import ImageSpec
from .formats.registry import available_formats
from .gate.forks import imported_once
from .gate.gate import Check, GateError
from .publish import Artifact, export_model
from .verify import Comparison, Report, spec_of, verify

__all__ = [
    "Artifact",
    "Check",
    "Comparison",
    "GateError",
    "ImageSpec",
    "Measurement",
    "Report",
    "available_formats",
    "benchmark",
    "export_model",
    "imported_once",
    "read_manifest",
    "spec_of",
    "verify",
]
