"""ONNX: what ONNX Runtime, browsers and most accelerators run. Batch, height and width may stay open."""

import json
import logging
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ...contract.format import Format, Option, Variant
from ...gate.runtime import Arrays, Contents, Loaded
from .walking import walk

if TYPE_CHECKING:
    import onnx

    from ..registry import Request

FORMAT = Format(
    title="ONNX",
    suffix=".onnx",
    variants=(
        Variant("float32"),
        Variant("float16", share=0.5, least_psnr=60.0),
        Variant("dynamic_int8", share=0.25, least_psnr=33.0),
        Variant("static_int8", share=0.25, least_psnr=29.0, calibrated=True),
    ),
    options=(
        Option("layout", str, "nhwc, Keras' own and the default, or nchw.", choices=("nhwc", "nchw")),
        Option("opset", int, "13 to 22; 18 by default."),
    ),
    modules=("onnx", "onnxruntime", "tf2onnx"),
    packages=("onnx", "tf2onnx", "onnxruntime"),
)
OPSET = 18

# The first ONNX Runtime that reads an opset.
_RUNTIMES = {13: "1.6", 14: "1.8", 15: "1.10", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17"}
_RUNTIMES |= {21: "1.18", 22: "1.20"}

_STANDARD = ("", "ai.onnx")  # the domains of the operators that every runtime has
_NOTES = "kerasgen"

_LOG = logging.getLogger("kerasgen.export")


def export(request: "Request", path: Path) -> None:
    """Write the file `path`, with every size open that the model leaves open.

    A functional network of layers that `handlers` know is written directly; any other goes through
    tf2onnx, and the log says which layer sent it there. What float16 is made from has norms that 16 bits hold.

    Raises:
        UserError: the network draws random numbers, or the opset is none that can be written.
    """
    from kerasgen.errors import UserError

    from ..saved_model import traced
    from ..tf_graph import refuse_randomness
    from .graph import Unsupported
    from .tf2onnx import convert
    from .traversal import IR_VERSIONS, emit

    signature = request.main
    opset = request.options.get("opset") or OPSET
    if opset not in IR_VERSIONS:
        raise UserError(f"Opset {opset} can't be written: choose one from {min(IR_VERSIONS)} to {max(IR_VERSIONS)}.")
    try:
        model = emit(signature, opset, half=request.variant == "float16")
    except Unsupported as reason:
        refuse_randomness(traced(signature).graph, signature.model.name, "ONNX")
        _LOG.warning("Converting %r by tf2onnx, because %s.", signature.model.name, reason)
        model = convert(signature, opset)
    _write(model, request, path)


def rounded(request: "Request", source: Path, path: Path) -> None:
    """Write the request's variant of the float32 file `source`.

    Raises:
        UserError: the network has nothing that the variant could round.
    """
    import onnx

    from .quantize import quantized

    _write(quantized(onnx.load(source), request.variant, request.calibration), request, path)


def _write(model: "onnx.ModelProto", request: "Request", path: Path) -> None:
    import onnx

    onnx.helper.set_model_props(model, {_NOTES: json.dumps(request.notes)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def import_runtime() -> None:
    """Import ONNX and ONNX Runtime."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401


def contents(path: str) -> Contents:
    """Look into the file without running anything of it."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    nodes = list(walk(model.graph.node)) + [node for f in model.functions for node in walk(f.node)]
    foreign = {node.op_type for node in nodes if node.domain not in _STANDARD}
    # A file of its own could be any file.
    stored = model.graph.initializer
    foreign |= {"external data" for tensor in stored if tensor.external_data}
    opset = next(entry.version for entry in model.opset_import if entry.domain in _STANDARD)
    return Contents(
        operators=dict(sorted(Counter(node.op_type for node in nodes).items())),
        foreign=sorted(foreign),
        weight_bytes=sum(onnx.numpy_helper.to_array(t).nbytes for t in stored if not t.external_data),
        runtime_floor=f"onnxruntime {_RUNTIMES.get(opset, '?')} (opset {opset})",
        notes=next((json.loads(prop.value) for prop in model.metadata_props if prop.key == _NOTES), {}),
    )


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

    return Loaded(
        runtime=f"onnxruntime {onnxruntime.__version__}",
        signatures={
            "serving_default": {
                "inputs": described(session.get_inputs()),
                "outputs": described(session.get_outputs()),
            }
        },
        run=run,
        load_seconds=seconds,
    )
