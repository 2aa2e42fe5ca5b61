"""The growing ONNX graph: operators, constants, the two orders of axes, and what neighbors can be merged."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = tuple[int | None, ...]


class Unsupported(Exception):
    """The network can't be translated directly; the message says what in it."""


@dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph.

    Attributes:
        name: in the graph.
        shape: as Keras counts the axes, the channels last; None is any size.
        dtype: its name in NumPy.
        moved: whether the graph has the channels before the other axes, as its operators for pictures want them.
        content: the values of a constant.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    moved: bool = False
    content: np.ndarray | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    def axis(self, axis: int) -> int:
        """Return where the graph has one of Keras' axes."""
        axis %= self.rank
        if not self.moved or axis == 0:
            return axis
        return 1 if axis == self.rank - 1 else axis + 1


class Graph:
    """What the handlers write into.

    Args:
        opset: the version of the operators.
        half: whether the graph will compute in 16 bits, so that no sum may exceed 65,504.
    """

    def __init__(self, opset: int, half: bool = False):
        self.opset = opset
        self.half = half
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._contents: dict[tuple, str] = {}
        self._transposed: dict[str, Value] = {}
        self._count = 0

    def node(self, kind: str, inputs: list[str], output: str | None = None, /, **attributes: object) -> str:
        """Append an operator and return the name of its output."""
        return self.split_node(kind, inputs, 1, output, **attributes)[0]

    def split_node(
        self, kind: str, inputs: list[str], count: int, output: str | None = None, /, **attributes: object
    ) -> list[str]:
        """Append an operator and return the names of its `count` outputs."""
        self._count += 1
        name = f"{kind}_{self._count}"
        outputs = [output or name] if count == 1 else [f"{name}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs

    def constant(self, array: np.ndarray) -> str:
        """Keep an array in the file, once for all that equal it, and return its name."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))  # NumPy makes a scalar a row
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._contents:
            self._contents[key] = f"constant_{len(self._contents)}"
            name = self._contents[key]
            self._initializers[name] = numpy_helper.from_array(array, name)
        return self._contents[key]

    def integers(self, values: list[int]) -> str:
        """Keep int64 values, such as a shape."""
        return self.constant(np.array(values, "int64"))

    def scalar(self, value: float) -> str:
        """Keep one float32."""
        return self.constant(np.array(value, "float32"))

    def value_of(self, array: np.ndarray, moved: bool = False) -> Value:
        """Keep an array with Keras' axes as a value, in either order."""
        kept = np.moveaxis(array, -1, 1) if moved else array
        return Value(self.constant(kept), array.shape, array.dtype.name, moved, array)

    def channels_first(self, value: Value) -> Value:
        """Return a value of rank 3 or more with the channels before the other axes."""
        if value.moved or value.rank < 3:
            return value
        return self._turned(value)

    def channels_last(self, value: Value) -> Value:
        """Return a value with the axes of Keras."""
        return self._turned(value) if value.moved else value

    def in_keras_order(self, value: Value) -> str:
        """Return the name of a tensor whose values lie in the order of Keras, whatever its shape."""
        if value.moved and all(size == 1 for size in value.shape[1:-1]):
            return value.name
        return self.channels_last(value).name

    def _turned(self, value: Value) -> Value:
        if value.content is not None:
            return self.value_of(value.content, not value.moved)
        if value.name not in self._transposed:
            name = self.node("Transpose", [value.name], perm=_turn(value))
            turned = dataclasses.replace(value, name=name, moved=not value.moved)
            self._transposed |= {value.name: turned, name: value}
        return self._transposed[value.name]

    def leave(self, value: Value, name: str, first: bool) -> None:
        """Make a value an output of the graph, under this name, with the channels first or last."""
        if value.rank > 2 and value.moved != first:
            self.node("Transpose", [value.name], name, perm=_turn(value))
        else:
            self.node("Identity", [value.name], name)

    def cast(self, value: Value, dtype: str) -> Value:
        """Return a value in another dtype."""
        if value.dtype == dtype:
            return value
        if value.content is not None:
            return self.value_of(value.content.astype(dtype), value.moved)
        name = self.node("Cast", [value.name], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        return dataclasses.replace(value, name=name, dtype=dtype)

    def reshaped(self, value: Value, sizes: list[int], shape: Shape) -> Value:
        """Return a value in another shape; among the `sizes`, -1 is what remains, and 0 is kept."""
        source = self.in_keras_order(value)
        moved = len(sizes) > 3 and all(size == 1 for size in sizes[1:-1])
        # A row of channels lies in the same order either way.
        wanted = [sizes[0], sizes[-1], *sizes[1:-1]] if moved else sizes
        keep = {"allowzero": 1} if 0 in shape else {}
        name = self.node("Reshape", [source, self.integers(wanted)], **keep)
        return Value(name, shape, value.dtype, moved)

    def reduced(self, kind: str, name: str, axes: list[int], keepdims: bool = True) -> str:
        """Append a reduction such as ReduceMean over axes of the graph."""
        if kind == "ReduceSum" or self.opset >= 18:
            return self.node(kind, [name, self.integers(axes)], keepdims=int(keepdims))
        return self.node(kind, [name], axes=axes, keepdims=int(keepdims))

    def used_initializers(self) -> list[onnx.TensorProto]:
        """Return the constants that an operator still reads."""
        used = {name for node in self.nodes for name in node.input}
        return [tensor for name, tensor in self._initializers.items() if name in used]

    def drop_unread(self, outputs: list[str]) -> None:
        """Remove the operators that no output depends on."""
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                kept.append(node)
        self.nodes = kept[::-1]

    def merge_paddings(self) -> None:
        """Give the zeros of a Pad to the convolution that alone reads them."""
        for node, pad in self._pairs("Pad", "Conv"):
            automatic = _attribute(node, "auto_pad", None) is not None
            if automatic or _attribute(pad, "mode", b"constant") != b"constant" or len(pad.input) > 2:
                continue
            pads = self._values(pad.input[1]).tolist()
            rank = len(pads) // 2
            if any(pads[:2]) or any(pads[rank : rank + 2]) or min(pads) < 0:
                continue
            _add_to_pads(node, [*pads[2:rank], *pads[rank + 2 :]])
            node.input[0] = pad.input[0]
            self.nodes.remove(pad)

    def merge_croppings(self) -> None:
        """Let a transposed convolution not compute what a Slice throws away."""
        for crop, node in self._pairs("ConvTranspose", "Slice"):
            starts, ends, axes = (self._values(name).tolist() for name in crop.input[1:4])
            if axes != [2, 3] or min(ends) < 2**31 - 1 or min(starts) < 0 or len(crop.input) > 4:
                continue
            _add_to_pads(node, [*starts, 0, 0])
            node.output[0] = crop.output[0]
            self.nodes.remove(crop)

    def _pairs(self, first: str, second: str) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
        """Return (reader, producer) where a `second` is the only reader of a `first`."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        pairs = []
        for producer in self.nodes:
            found = readers.get(producer.output[0], [])
            if producer.op_type == first and len(found) == 1 and found[0].op_type == second:
                pairs.append((found[0], producer))
        return pairs

    def _values(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self._initializers[name])


def _turn(value: Value) -> list[int]:
    """Return the axes of a Transpose to the other order."""
    middle = list(range(1, value.rank - 1))
    return [0, *(axis + 1 for axis in middle), 1] if value.moved else [0, value.rank - 1, *middle]


def _attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _add_to_pads(node: onnx.NodeProto, more: list[int]) -> None:
    pads = next(a for a in node.attribute if a.name == "pads")
    added = [a + b for a, b in zip(pads.ints, more, strict=True)]
    del pads.ints[:]
    pads.ints.extend(added)
