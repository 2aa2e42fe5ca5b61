"""TFLite: what phones and browsers run by LiteRT. Batch 1 and fixed sizes, as mobile runtimes like them.

It converts the SavedModel of `saved_model.save`: other ways into the converter silently give a file
without weights or without a signature.
"""

import dataclasses
import io
import json
import keyword
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...contract.format import Format, Variant
from ...gate.runtime import Arrays, Contents, Loaded

if TYPE_CHECKING:
    from ..registry import Request

FORMAT = Format(
    title="TFLite",
    suffix=".tflite",
    variants=(
        Variant("float32"),
        Variant("float16", share=0.5, least_psnr=60.0),
        Variant("dynamic_int8", share=0.25, least_psnr=33.0),
        Variant("static_int8", share=0.25, least_psnr=29.0, calibrated=True),
    ),
    modules=("tensorflow", "ai_edge_litert", "ai_edge_quantizer"),
    packages=("tensorflow", "ai-edge-litert", "ai-edge-quantizer"),
    # As a SavedModel, which it is converted from.
    names=r"[A-Za-z]\w*",
    reserved=(*keyword.kwlist, "self"),
    one_example=True,
)
_NOTES, _MOST_NOTES = "metadata.json", 2**20  # bytes, when they are unpacked
# Builtin operators that do more than compute: they keep values from one run to the next, or call unknown code.
_NOT_COMPUTING = frozenset(
    {
        *("CUSTOM", "DELEGATE", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"),
        *("HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE"),
    }
)


def export(request: "Request", path: Path) -> None:
    """Write the file `path` for one example of the sizes of the request's inputs.

    What float16 is made from has norms that 16 bits hold.
    A zip with `metadata.json` follows the model in the file: LiteRT reads the one, unzip the other.

    Raises:
        UserError: the network draws random numbers.
    """
    import tensorflow as tf

    from kerasgen.files import scratch
    from kerasgen.keras_hooks import require_litert_hooks

    from ...contract.inputs import fixed_shapes
    from ..saved_model import save, traced
    from ..tf_graph import quiet_tensorflow, refuse_randomness
    from .rewrite import rewritten

    require_litert_hooks()  # `load` runs without kerasgen
    signature = request.main
    fixed = fixed_shapes(signature, request.inputs)
    function = traced(dataclasses.replace(rewritten(signature, half=request.variant == "float16"), inputs=fixed))
    refuse_randomness(function.graph, signature.model.name, "TFLite")
    with scratch() as folder, quiet_tensorflow():
        save(folder, {"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["serving_default"])
        content = converter.convert()
    path.write_bytes(content + _zipped(request.notes))


def rounded(request: "Request", source: Path, path: Path) -> None:
    """Write the request's variant of the float32 file `source`.

    Raises:
        UserError: the network has nothing that the variant could round.
    """
    from ...contract.calibration import refuse_without_weights
    from .quantize import ROUNDABLE, quantized

    if request.variant != "float16":  # which rounds the weights of every operator
        refuse_without_weights(request.variant, contents(str(source)).operators, ROUNDABLE)
    content = quantized(_model(source.read_bytes()), request.variant, request.calibration)
    path.write_bytes(content + _zipped(request.notes))


def _zipped(notes: Mapping[str, object]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        # A date of its own, because the same model must give the same file.
        archive.writestr(zipfile.ZipInfo(_NOTES, (1980, 1, 1, 0, 0, 0)), json.dumps(notes, indent=2))
    return stream.getvalue()


def _model(content: bytes) -> bytes:
    """Return a file without the zip behind the model."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content[: min(entry.header_offset for entry in archive.infolist())]


def import_runtime() -> None:
    """Import LiteRT."""
    import ai_edge_litert.interpreter  # noqa: F401


def contents(path: str) -> Contents:
    """Look into the file without running anything of it."""
    content = Path(path).read_bytes()
    operators, foreign, weight_bytes = _graph(content)
    notes: dict[str, object] = {}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if _NOTES in archive.namelist():
                if archive.getinfo(_NOTES).file_size > _MOST_NOTES:
                    raise ValueError(f"its notes are longer than {_MOST_NOTES:,} bytes")
                notes = json.loads(archive.read(_NOTES))
    return Contents(
        operators=operators,
        foreign=foreign,
        weight_bytes=weight_bytes,
        runtime_floor=f"LiteRT or TensorFlow Lite {_least_runtime(content)}",
        notes=notes,
    )


def load(path: str, threads: int = 0) -> Loaded:
    """Load the file in LiteRT's interpreter."""
    from importlib.metadata import version

    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    start = time.perf_counter()
    interpreter = Interpreter(path, num_threads=threads or None)
    interpreter.allocate_tensors()
    seconds = time.perf_counter() - start
    runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}

    def run(signature: str, inputs: Arrays) -> Arrays:
        runner = runners[signature]
        batch = len(next(iter(inputs.values())))
        rows = [runner(**{n: v[i : i + 1] for n, v in inputs.items()}) for i in range(batch)]
        # A number of all examples together, or a constant, isn't one part for each example.
        return {
            name: np.concatenate([row[name] for row in rows]) if np.shape(last)[:1] == (1,) else np.asarray(last)
            for name, last in rows[-1].items()
        }

    def described(details: dict) -> dict:
        return {
            name: {"shape": detail["shape"].tolist(), "dtype": np.dtype(detail["dtype"]).name}
            | (
                {"scale": detail["quantization"][0], "zero_point": detail["quantization"][1]}
                if any(detail["quantization"])
                else {}
            )
            for name, detail in sorted(details.items())
        }

    return Loaded(
        runtime=f"ai-edge-litert {version('ai-edge-litert')}",
        signatures={
            name: {"inputs": described(r.get_input_details()), "outputs": described(r.get_output_details())}
            for name, r in runners.items()
        },
        run=run,
        load_seconds=seconds,
        # LiteRT has no public word for it.
        partitions=sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details()),
    )


def _graph(content: bytes) -> tuple[dict[str, int], list[str], int]:
    """Return a file's operators with their counts, those that do more than compute, and its weights' bytes."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes, foreign = [], set()
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM")
        codes.append(code.CustomCode().decode() if name == "CUSTOM" and code.CustomCode() else name)
        if name in _NOT_COMPUTING:
            foreign.add(codes[-1])
    count: Counter[str] = Counter()
    for s in range(model.SubgraphsLength()):
        graph = model.Subgraphs(s)
        count.update(codes[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength()))
    weight_bytes = sum(model.Buffers(i).DataLength() for i in range(model.BuffersLength()))
    return dict(sorted(count.items())), sorted(foreign), weight_bytes


def _least_runtime(content: bytes) -> str:
    """Return the oldest runtime that knows all operators of a file, as the converter noted it there."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        if model.Metadata(i).Name() == b"min_runtime_version":
            return model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy().tobytes().decode().strip("\0")
    return "of today"
