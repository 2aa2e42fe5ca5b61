"""Variants of an ONNX model that store or compute with fewer bits; its inputs and outputs stay float32."""

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.files import scratch

from ...contract.calibration import Calibration, refuse_without_weights
from .walking import walk

if TYPE_CHECKING:
    import onnx

_DYNAMIC = ("Conv", "MatMul", "Gemm")
# The norms stay in float: an instance norm of rounded numbers loses several dB.
_STATIC = (*_DYNAMIC, "ConvTranspose")


def quantized(model: "onnx.ModelProto", variant: str, calibration: Calibration | None) -> "onnx.ModelProto":
    """Return a variant of a float32 model; the model itself may change.

    Raises:
        UserError: nothing in the model can be stored in 8 bits.
    """
    if variant == "float16":
        return _float16(model)
    refuse_without_weights(variant, (node.op_type for node in model.graph.node), _STATIC)
    if variant == "dynamic_int8":
        return _dynamic(model)
    assert calibration is not None  # `read_calibration` refuses this variant without
    return _static(model, calibration)


def _float16(model: "onnx.ModelProto") -> "onnx.ModelProto":
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(model, keep_io_types=True)
    _sort(model.graph)
    return model


def _sort(graph: "onnx.GraphProto") -> None:
    """Put each operator after what it reads: the conversion appends its casts.

    ONNX Runtime's own sort doesn't see what a loop or a branch reads inside it.
    """
    nodes = list(graph.node)
    # An output or an input that is left out has the name "".
    makers = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    reads = {
        number: {makers[name] for inner in walk([node]) for name in inner.input if name in makers}
        for number, node in enumerate(nodes)
    }
    del graph.node[:]
    graph.node.extend(nodes[number] for number in TopologicalSorter(reads).static_order())


def _dynamic(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Weights in 8 bits, activations rounded as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with scratch() as folder:
        path = folder / "model.onnx"
        # ONNX Runtime multiplies unsigned weights 5 times as fast as signed ones, and without overflow: a CPU
        # without VNNI adds two products of unsigned and signed bytes in 16 bits, where they saturate.
        quantize_dynamic(
            _prepared(model),
            path,
            op_types_to_quantize=list(_DYNAMIC),
            weight_type=QuantType.QUInt8,
            per_channel=True,
        )
        rounded = onnx.load(path)
    _store_transposed_in_8_bits(rounded)
    return rounded


def _static(model: "onnx.ModelProto", calibration: Calibration) -> "onnx.ModelProto":
    """Weights in 8 bits, activations in ranges that the calibration showed."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.examples = iter(calibration.examples)

        def get_next(self) -> dict | None:
            return next(self.examples, None)

    with scratch() as folder:
        path = folder / "model.onnx"
        quantize_static(
            _prepared(model),
            path,
            Reader(),
            op_types_to_quantize=list(_STATIC),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,  # as above
            per_channel=True,
            extra_options={"WeightSymmetric": True},
        )
        return onnx.load(path)


def _prepared(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Infer the shapes that the quantizer asks for, and tell it so; otherwise it warns."""
    import onnx
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.shape_inference.infer_shapes(model)
    add_pre_process_metadata(model)
    return model


def _store_transposed_in_8_bits(model: "onnx.ModelProto") -> None:
    """Round the weights of transposed convolutions, which compute in float: ONNX has no integer form of them."""
    from onnx import helper, numpy_helper

    graph = model.graph
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    rounded = {}
    for node in list(graph.node):
        name = node.input[1] if node.op_type == "ConvTranspose" else None
        if name not in arrays:
            continue
        if name not in rounded:
            values, scales = _rounded(numpy_helper.to_array(arrays[name]), axis=1)
            names = [f"{name}_quantized", f"{name}_scale"]
            graph.initializer.extend(
                numpy_helper.from_array(a, n) for a, n in zip((values, scales), names, strict=True)
            )
            rounded[name] = f"{name}_dequantized"
            position = list(graph.node).index(node)
            graph.node.insert(position, helper.make_node("DequantizeLinear", names, [rounded[name]], name, axis=1))
        node.input[1] = rounded[name]
    _drop_unread(graph)


def _rounded(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 weights and the float32 scale of each channel."""
    others = tuple(a for a in range(weights.ndim) if a != axis)
    scales = np.maximum(np.abs(weights).max(axis=others, keepdims=True) / 127, np.finfo("float32").tiny)
    return np.rint(weights / scales).astype("int8"), scales.reshape(-1).astype("float32")


def _drop_unread(graph: "onnx.GraphProto") -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
