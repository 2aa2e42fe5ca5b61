"""ONNX: what ONNX Runtime, browsers and most accelerators run. Batch, height and width may stay open."""

import json
import logging
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ...gate.runtime import Arrays, Loaded

if TYPE_CHECKING:
    from ..registry import Request

SUFFIX = ".onnx"
VARIANTS = ("float32", "float16", "dynamic_int8", "static_int8")
OPTIONS = ("layout", "opset")
OPSET = 18

# The first ONNX Runtime that reads an opset.
_RUNTIMES = {13: "1.6", 14: "1.8", 15: "1.10", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17"}
_RUNTIMES |= {21: "1.18", 22: "1.20"}

_LOG = logging.getLogger("kerasgen.export")


def export(request: "Request", path: Path) -> None:
    """Write the file `path`, with every size open that the model leaves open.

    A functional network of layers that `handlers` know is written directly; any other goes through
    tf2onnx, and the log says which layer sent it there.

    Raises:
        UserError: the network draws random numbers, has nothing that the variant could round, or the opset is none
            that can be written.
    """
    import onnx

    from kerasgen.errors import UserError

    from ..saved_model import traced
    from ..tf_graph import refuse_randomness
    from .graph import Unsupported
    from .quantize import quantized
    from .tf2onnx import convert
    from .traversal import IR_VERSIONS, emit

    signature = request.signatures["serving_default"]
    opset = request.opset or OPSET
    if opset not in IR_VERSIONS:
        raise UserError(f"Opset {opset} can't be written: choose one from {min(IR_VERSIONS)} to {max(IR_VERSIONS)}.")
    try:
        model = emit(signature, opset, half=request.variant == "float16")
    except Unsupported as reason:
        refuse_randomness(traced(signature).graph, signature.model.name, "ONNX")
        _LOG.warning("Converting %r by tf2onnx, because %s.", signature.model.name, reason)
        model = convert(signature, opset)
    if request.variant != "float32":
        model = quantized(model, request.variant, request.calibration)
    onnx.helper.set_model_props(model, {"kerasgen": json.dumps(request.notes)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def load(path: str, threads: int = 0) -> Loaded:
    """Load the file in ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    seconds = time.perf_counter() - start
    names = [output.name for output in session.get_outputs()]

    def run(signature: str, inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, inputs), strict=True))

    def described(tensors: list) -> dict:
        return {
            t.name: {
                "shape": [size if isinstance(size, int) else None for size in t.shape],
                "dtype": {"tensor(float)": "float32", "tensor(double)": "float64"}.get(t.type, t.type[7:-1]),
            }
            for t in tensors
        }

    operators, foreign, weight_bytes, opset = _inspect(path)
    return Loaded(
        runtime=f"onnxruntime {onnxruntime.__version__}",
        signatures={
            "serving_default": {
                "inputs": described(session.get_inputs()),
                "outputs": described(session.get_outputs()),
            }
        },
        run=run,
        operators=operators,
        foreign=foreign,
        weight_bytes=weight_bytes,
        runtime_floor=f"onnxruntime {_RUNTIMES.get(opset, '?')} (opset {opset})",
        load_seconds=seconds,
    )


def _inspect(path: str) -> tuple[dict[str, int], list[str], int, int]:
    """Return a file's operators with their counts, those outside the standard, its weights' bytes and its opset."""
    import onnx

    model = onnx.load(path)
    nodes = list(model.graph.node)
    foreign = sorted({node.op_type for node in nodes if node.domain not in ("", "ai.onnx")})
    weight_bytes = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return dict(sorted(Counter(node.op_type for node in nodes).items())), foreign, weight_bytes, opset
