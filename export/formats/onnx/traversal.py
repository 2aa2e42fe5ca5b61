"""The direct way to ONNX: a functional Keras network, layer by layer, as the few operators that it is.

Pictures are NCHW inside, as ONNX wants them, with one Transpose at each picture that enters or leaves, so that
the artifact keeps the network's own NHWC signature; the layout "nchw" has none. Compared with a converted TensorFlow
graph that is a tenth of the nodes, and every instance normalization is one operator.
"""

from typing import TYPE_CHECKING

from .handlers import HANDLERS, Unsupported, Value

if TYPE_CHECKING:
    import keras
    import numpy as np
    import onnx

    from ...contract.signature import Signature, TensorInfo

# The file format's version that belongs to each opset: old runtimes refuse newer ones.
IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10}
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def emit(signature: "Signature", opset: int = 18) -> "onnx.ModelProto":
    """Return the ONNX model of a functional network.

    Raises:
        Unsupported: a layer, or an option of one, has no direct translation; the message names it.
    """
    from onnx import helper

    model = signature.model
    if not getattr(model, "inputs", None):
        raise Unsupported(f"{model.name!r} is not a functional model")
    emitter = Emitter()
    outputs = emitter.run(model, [_enter(emitter, signature, name) for name in signature.inputs])
    for name, value in zip(signature.outputs, outputs, strict=True):
        _leave(emitter, signature, name, value)
    emitter.merge_paddings()
    emitter.merge_croppings()
    graph = helper.make_graph(
        emitter.nodes,
        model.name,
        [_described(signature, name, info, "") for name, info in signature.inputs.items()],
        [_described(signature, name, info, f"{name}_") for name, info in signature.outputs.items()],
        initializer=emitter.used_initializers(),
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSIONS[opset],
        producer_name="kerasgen",
    )


def _enter(emitter: "Emitter", signature: "Signature", name: str) -> Value:
    """From what a client sends to what the first layer takes."""
    from onnx import TensorProto

    info, value = signature.inputs[name], name
    if info.dtype != "float32" and name not in signature.pictures:
        raise Unsupported(f"the input {name!r} is {info.dtype}")
    if len(info.shape) == 4 and signature.layout == "nhwc":
        value = emitter.node("Transpose", [value], perm=_TO_NCHW)
    if name in signature.pictures:
        value = emitter.node("Cast", [value], to=TensorProto.FLOAT)
        value = emitter.node("Mul", [value, emitter.scalar(signature.image.scale)])
        value = emitter.node("Add", [value, emitter.scalar(signature.image.value_range[0])])
    return Value(value, len(info.shape))


def _leave(emitter: "Emitter", signature: "Signature", name: str, value: Value) -> None:
    """From what the last layer gives to what a client gets, under its name."""
    from onnx import TensorProto

    last = value.name
    if name in signature.pictures:
        last = emitter.node("Sub", [last, emitter.scalar(signature.image.value_range[0])])
        last = emitter.node("Mul", [last, emitter.scalar(1.0 / signature.image.scale)])
        last = emitter.node("Clip", [last, emitter.scalar(0.0), emitter.scalar(255.0)])
        last = emitter.node("Add", [last, emitter.scalar(0.5)])
        last = emitter.node("Cast", [last], to=TensorProto.UINT8)
    if value.rank == 4 and signature.layout == "nhwc":
        emitter.node("Transpose", [last], output=name, perm=_TO_NHWC)
    else:
        emitter.node("Identity", [last], output=name)


def _described(signature: "Signature", name: str, info: "TensorInfo", prefix: str) -> "onnx.ValueInfoProto":
    # An output may have another size than the input: only the batch is surely the same.
    from onnx import TensorProto, helper

    height = 2 if signature.layout == "nchw" else 1
    free = {0: "batch"} | ({height: f"{prefix}height", height + 1: f"{prefix}width"} if len(info.shape) == 4 else {})
    shape = [
        size if size is not None else free.get(axis, f"{prefix}size_{axis}") for axis, size in enumerate(info.shape)
    ]
    kind = TensorProto.UINT8 if name in signature.pictures else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, shape)


class Emitter:
    """The growing ONNX graph that the layers' handlers write into."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._contents: dict[tuple, str] = {}
        self._count = 0

    def run(self, model: "keras.Model", inputs: list[Value]) -> list[Value]:
        """Emit a functional model, nested ones included, and return its outputs."""
        import keras

        if isinstance(model, keras.Sequential):
            model = model._functional
        if not hasattr(model, "_nodes_by_depth"):
            raise Unsupported(f"the nested model {model.name!r} is not functional")
        values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                taken = [values[id(tensor)] for tensor in node.input_tensors]
                for tensor, value in zip(node.outputs, self._layer(node.operation, taken), strict=True):
                    values[id(tensor)] = value
        return [values[id(tensor)] for tensor in keras.tree.flatten(model.outputs)]

    def _layer(self, layer: "keras.Layer", inputs: list[Value]) -> list[Value]:
        import keras

        if type(layer) in (keras.Sequential, keras.Model) or type(layer).__name__ == "Functional":
            return self.run(layer, inputs)
        kind = type(layer)
        # A class of the user's may share a name with one of Keras': only the module tells them apart.
        known = kind.__module__.startswith(("keras.", "kerasgen."))
        handler = HANDLERS.get(kind.__name__) if known else None
        if handler is None:
            raise Unsupported(f"the layer {layer.name!r} is a {kind.__name__}, which has no direct translation")
        if getattr(layer, "compute_dtype", "float32") != "float32":
            raise Unsupported(f"the layer {layer.name!r} computes in {layer.compute_dtype}")
        if getattr(layer, "data_format", None) == "channels_first":
            raise Unsupported(f"the layer {layer.name!r} is channels_first")
        return [handler(self, layer, inputs)]

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: object) -> str:
        """Append an operator and return the name of its output."""
        from onnx import helper

        self._count += 1
        output = output or f"{kind}_{self._count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}_{self._count}", **attributes))
        return output

    def constant(self, array: "np.ndarray") -> str:
        """Keep an array in the file, once for all that equal it, and return its name."""
        from onnx import numpy_helper

        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._contents:
            self._contents[key] = f"constant_{len(self._contents)}"
            name = self._contents[key]
            self._initializers[name] = numpy_helper.from_array(array, name)
        return self._contents[key]

    def integers(self, values: list[int]) -> str:
        """Keep int64 values, such as a shape."""
        import numpy as np

        return self.constant(np.array(values, "int64"))

    def scalar(self, value: float) -> str:
        """Keep one float32."""
        import numpy as np

        return self.constant(np.array(value, "float32"))

    def used_initializers(self) -> "list[onnx.TensorProto]":
        """Return the constants that an operator still reads."""
        used = {name for node in self.nodes for name in node.input}
        return [tensor for name, tensor in self._initializers.items() if name in used]

    def merge_paddings(self) -> None:
        """Give the zeros of a Pad to the convolution that alone reads them."""
        for node, pad in self._pairs("Pad", "Conv"):
            automatic = _attribute(node, "auto_pad", None) is not None
            if automatic or _attribute(pad, "mode", b"constant") != b"constant":
                continue
            top, left, bottom, right = self._values(pad.input[1])[[2, 3, 6, 7]].tolist()
            _add_to_pads(node, [top, left, bottom, right])
            node.input[0] = pad.input[0]
            self.nodes.remove(pad)

    def merge_croppings(self) -> None:
        """Let a transposed convolution not compute what a Slice throws away."""
        for crop, node in self._pairs("ConvTranspose", "Slice"):
            starts, ends = self._values(crop.input[1]), self._values(crop.input[2])
            if (ends < 0).any():
                continue
            _add_to_pads(node, [*starts.tolist(), 0, 0])
            node.output[0] = crop.output[0]
            self.nodes.remove(crop)

    def _pairs(self, first: str, second: str) -> "list[tuple[onnx.NodeProto, onnx.NodeProto]]":
        """Return (reader, producer) where a `second` is the only reader of a `first`."""
        readers: dict[str, list] = {}
        for node in self.nodes:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        pairs = []
        for producer in self.nodes:
            found = readers.get(producer.output[0], [])
            if producer.op_type == first and len(found) == 1 and found[0].op_type == second:
                pairs.append((found[0], producer))
        return pairs

    def _values(self, name: str) -> "np.ndarray":
        from onnx import numpy_helper

        return numpy_helper.to_array(self._initializers[name])


def _attribute(node: "onnx.NodeProto", name: str, default: object) -> object:
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _add_to_pads(node: "onnx.NodeProto", more: list[int]) -> None:
    pads = next(a for a in node.attribute if a.name == "pads")
    added = [a + b for a, b in zip(pads.ints, more, strict=True)]
    del pads.ints[:]
    pads.ints.extend(added)
