"""TFLite: what phones and browsers run by LiteRT. Batch 1 and fixed sizes, as mobile runtimes like them.

It converts the SavedModel of `saved_model.write`: other ways into the converter silently give a file
without weights or without a signature.
"""

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ._runtime import Arrays, Loaded

if TYPE_CHECKING:
    from ._calibration import Calibration
    from ._signature import Signature

SUFFIX = ".tflite"
VARIANTS = ("float32", "float16", "dynamic_int8", "static_int8")


def export(
    signature: "Signature", path: Path, variant: str, inputs: Arrays, calibration: "Calibration | None" = None
) -> None:
    """Write the file `path` for one example of the sizes of `inputs`.

    Raises:
        UserError: the network draws random numbers, or has nothing that the variant could round.
    """
    import tensorflow as tf

    from ._calibration import refuse_without_weights
    from ._graph import quiet_tensorflow, refuse_randomness
    from ._quantize_tflite import ROUNDABLE, quantized
    from ._rewrite import rewritten
    from ._signature import fixed_shapes
    from .saved_model import write

    fixed = fixed_shapes(signature, inputs)
    refuse_randomness(signature, fixed, "TFLite")
    with tempfile.TemporaryDirectory(prefix="kerasgen-") as folder, quiet_tensorflow():
        write(Path(folder), rewritten(signature), fixed)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        if variant == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    if variant.endswith("int8"):
        refuse_without_weights(variant, _inspect(content)[0], ROUNDABLE)
        content = quantized(content, variant, calibration)
    path.write_bytes(content)


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
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def described(details: dict) -> dict:
        return {
            name: {"shape": detail["shape"].tolist(), "dtype": np.dtype(detail["dtype"]).name}
            for name, detail in sorted(details.items())
        }

    operators, foreign, weight_bytes = _inspect(Path(path).read_bytes())
    return Loaded(
        runtime=f"ai-edge-litert {version('ai-edge-litert')}",
        signatures={
            name: {"inputs": described(r.get_input_details()), "outputs": described(r.get_output_details())}
            for name, r in runners.items()
        },
        run=run,
        operators=operators,
        foreign=foreign,
        weight_bytes=weight_bytes,
        load_seconds=seconds,
    )


def _inspect(content: bytes) -> tuple[dict[str, int], list[str], int]:
    """Return a file's operators with their counts, those that are no builtins, and its weights' bytes."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes, foreign = [], []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if builtin == schema.BuiltinOperator.CUSTOM:
            foreign.append(code.CustomCode().decode())
        codes.append(foreign[-1] if builtin == schema.BuiltinOperator.CUSTOM else names[builtin])
    count = Counter()
    for s in range(model.SubgraphsLength()):
        graph = model.Subgraphs(s)
        count.update(codes[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength()))
    weight_bytes = sum(model.Buffers(i).DataLength() for i in range(model.BuffersLength()))
    return dict(sorted(count.items())), foreign, weight_bytes
