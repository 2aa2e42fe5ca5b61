"""Export any Keras 3 network to SavedModel, TFLite and ONNX, proven equal to it before it is published.

    from kerasgen.export import export_model, verify, benchmark

    artifact = export_model(decoder, "saved_models/digits", format="onnx")
    assert verify(artifact.path, decoder).passed
    rows = benchmark([artifact.path])

One format is one file of this package: `SUFFIX`, `VARIANTS`, `export()` and `load()`.
"""

from ._formats import available_formats
from ._gate import Check, GateError
from ._publish import Artifact, export_model
from .benchmark import Measurement, benchmark
from .verify import Report, verify

__all__ = [
    "Artifact",
    "Check",
    "GateError",
    "Measurement",
    "Report",
    "available_formats",
    "benchmark",
    "export_model",
    "verify",
]
