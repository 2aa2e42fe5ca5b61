"""Attention between the steps of a sequence, by matrix products."""

import re

import keras
import numpy as np

from .activations import activated
from .call import Call
from .graph import Graph, Value


def multi_head_attention(call: Call) -> Value:
    layer, graph = call.operation, call.graph
    values = _query_key_value(call)
    if {value.rank for value in values} != {3}:
        raise call.refused("attends over more than one axis")
    heads = [
        _projected(graph, value, dense)
        for value, dense in zip(values, (layer.query_dense, layer.key_dense, layer.value_dense), strict=True)
    ]
    query, key, value = (
        graph.node("Transpose", [name], perm=perm)
        for name, perm in zip(heads, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    query = graph.node("Mul", [query, graph.scalar(layer.get_config()["key_dim"] ** -0.5)])
    shares = graph.node("Softmax", [graph.node("MatMul", [query, key])], axis=-1)
    found = graph.node("Transpose", [graph.node("MatMul", [shares, value])], perm=[0, 2, 1, 3])
    found = graph.node("Reshape", [found, graph.integers([0, 0, -1])])
    kernel = _array(layer.output_dense.kernel)  # [heads, size, ...]
    if kernel.ndim != 3:
        raise call.refused("gives more axes than it takes")
    found = graph.node("MatMul", [found, graph.constant(kernel.reshape(-1, kernel.shape[2]))])
    return call.result(_biased(graph, found, layer.output_dense))


def _query_key_value(call: Call) -> list[Value]:
    config = call.operation.get_config()
    special = [name for name in ("use_gate", "sliding_window") if config.get(name)]
    names = ("query", "value", "key")
    more = {name for name, given in call.kwargs.items() if given is not None and given is not False} - set(names)
    if special or more or len(call.args) > 3:
        raise call.refused(f"is called or made with {', '.join([*special, *sorted(more)]) or 'a mask'}")
    query, value, key = (call.argument(position, name) for position, name in enumerate(names))
    return [call.graph.channels_last(call.value(given)) for given in (query, value if key is None else key, value)]


def _projected(graph: Graph, value: Value, dense: keras.layers.EinsumDense) -> str:
    """Return [batch, steps, heads, size]."""
    kernel = _array(dense.kernel)
    name = graph.node("MatMul", [value.name, graph.constant(kernel.reshape(kernel.shape[0], -1))])
    name = graph.node("Reshape", [name, graph.integers([0, 0, *kernel.shape[1:]])])
    return _biased(graph, name, dense)


def einsum_dense(call: Call) -> Value:
    layer, graph = call.operation, call.graph
    names = [graph.channels_last(call.input).name, graph.constant(_array(layer.kernel))]
    equation = layer.equation.replace(" ", "")
    given, kernel, found = re.split(",|->", equation)
    # What Dense does is written as Dense is, so that 8-bit variants know it.
    dense = len(kernel) == 2 and given[-1] == kernel[0] and found == given[:-1] + kernel[1]
    name = graph.node("MatMul", names) if dense else graph.node("Einsum", names, equation=equation)
    return activated(graph, layer.activation, call.result(_biased(graph, name, layer)), layer.name)


def _biased(graph: Graph, name: str, dense: keras.layers.EinsumDense) -> str:
    return name if dense.bias is None else graph.node("Add", [name, graph.constant(_array(dense.bias))])


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.numpy(), "float32")
