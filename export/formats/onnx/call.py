"""One use of a layer or an operation in a network, as its handler sees it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np

from .graph import Graph, Unsupported, Value


@dataclass(frozen=True)
class Call:
    """A node of a functional network.

    Attributes:
        graph: what the handler writes into.
        operation: the layer, or the operation of keras.ops.
        args, kwargs: what it was called with, a `Value` in place of each tensor of the network.
        outputs: the tensors that Keras says it gives.
    """

    graph: Graph
    operation: keras.Operation
    args: tuple
    kwargs: dict[str, object]
    outputs: list[keras.KerasTensor]

    @property
    def inputs(self) -> list[Value]:
        """All tensors that the call takes."""
        return [value for value in keras.tree.flatten((self.args, self.kwargs)) if isinstance(value, Value)]

    @property
    def input(self) -> Value:
        """The tensor that a layer with one input takes."""
        return self.inputs[0]

    def refused(self, why: str) -> Unsupported:
        """Return the error that sends the network through tf2onnx."""
        kind = "layer" if isinstance(self.operation, keras.Layer) else "operation"
        return Unsupported(f"the {kind} {self.operation.name!r} {why}")

    def argument(self, position: int, name: str, default: object = None) -> object:
        """Return an argument that may have been given by its position or by its name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def elements(self, position: int, name: str) -> list[object]:
        """Return the elements of such an argument that is a list of tensors or of numbers."""
        given = self.argument(position, name)
        if not isinstance(given, Iterable):
            raise self.refused(f"takes {given!r}")
        return list(given)

    def whole(self, numbers: Iterable[object], what: str) -> list[int]:
        """Return sizes or places as numbers, or refuse `what` the operation does by those of a tensor."""
        given = list(numbers)
        known = [int(number) for number in given if isinstance(number, (int, np.integer))]
        if len(known) < len(given):
            raise self.refused(f"{what} that is known only when it runs")
        return known

    def value(self, given: object, dtype: str | None = None) -> Value:
        """Return an argument as a value: a number, an array, a variable or a tensor becomes a constant."""
        if isinstance(given, Value):
            return given if dtype is None else self.graph.cast(given, dtype)
        if given is None or (isinstance(given, (str, dict, list)) and not np.asarray(given).size):
            raise self.refused(f"takes {given!r}")
        array = as_array(given)
        return self.graph.value_of(array.astype(dtype or array.dtype))

    def result(self, name: str, moved: bool = False, index: int = 0) -> Value:
        """Return one of the call's outputs, which the graph has under `name`."""
        spec = self.outputs[index]
        return Value(name, tuple(spec.shape), keras.backend.standardize_dtype(spec.dtype), moved)

    def picture(self) -> str:
        """Return the input of a layer with a `data_format`, its channels before the other axes."""
        first = self.operation.data_format == "channels_first"
        return (self.graph.channels_last if first else self.graph.channels_first)(self.input).name

    def picture_result(self, name: str) -> Value:
        """Return the output of a layer with a `data_format`, which the graph has with the channels first."""
        return self.result(name, moved=self.operation.data_format != "channels_first")


Handler = Callable[[Call], Value | list[Value]]


def as_array(given: object) -> np.ndarray:
    """Return a number, an array, a variable or a tensor outside the network as NumPy's."""
    return np.asarray(keras.ops.convert_to_numpy(given))
