"""A functional network for one size of picture, as a list of steps whose rows are known."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import keras
import numpy as np
from keras import ops

from kerasgen.errors import a_kind
from kerasgen.keras_hooks import functional_nodes, given_to_inputs
from kerasgen.networks.strips.rules import Norm, Reduction, Rule, UnknownLayer, Warped, not_by_strips, rule_of
from kerasgen.networks.strips.statistics import Gathered, Moments
from kerasgen.networks.strips.windows import Call, Window
from kerasgen.typing import Tensor


@dataclass(frozen=True)
class Value:
    """What a step gives: a map [1, height, width, channels] that comes in strips, or a small tensor."""

    shape: tuple[int, ...]
    dtype: str
    is_map: bool

    @property
    def height(self) -> int:
        return self.shape[1]

    @property
    def row_bytes(self) -> int:
        return self.shape[2] * self.shape[3] * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)

    @property
    def size_bytes(self) -> int:
        return self.height * self.row_bytes if self.is_map else 4 * int(np.prod(self.shape))


@dataclass(frozen=True)
class Step:
    """One operation. With a window, it makes rows of rows; with `gather`, a small tensor of all rows; else of wholes.

    Attributes:
        anywhere: the parent, if any, of which the step reads the rows that it finds it needs.
    """

    name: str
    call: Call
    parents: tuple[int, ...]
    output: int
    window: Window | None = None
    gather: Callable[[], Gathered] | None = None
    multiplications: float = 0.0
    scratch: int = 0
    temporaries: float = 1.0
    anywhere: int | None = None


class Arguments(Protocol):
    """The arguments of a node of a functional model, as Keras holds them."""

    keras_tensors: list[keras.KerasTensor]

    def fill_in(self, values: dict[int, Tensor]) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return args and kwargs with a value for each symbolic tensor."""


@dataclass
class Graph:
    """Values by number, and the steps in an order in which they can be done."""

    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    unfolded: set[int] = field(default_factory=set)  # maps that a small tensor was reshaped to: they are there whole

    def maps(self, step: Step) -> list[int]:
        """Return those parents of a step whose rows come in strips."""
        return [p for p in dict.fromkeys(step.parents) if self.values[p].is_map and p != step.anywhere]

    def add(self, spec: keras.KerasTensor, is_map: bool) -> int:
        self.values.append(Value(tuple(spec.shape), spec.dtype, is_map))
        return len(self.values) - 1


def make_graph(network: keras.Model, shapes: list[tuple[int, ...]]) -> Graph:
    """Take a functional network apart, for inputs of these shapes without the batch, in the order of its inputs.

    Raises:
        UnknownLayer: a layer can't be computed strip by strip.
    """
    graph = Graph()
    taken = network.inputs if functional_nodes(network) else []
    specs = [keras.KerasTensor((1, *s), t.dtype) for s, t in zip(shapes, taken, strict=bool(taken))]
    graph.inputs = tuple(graph.add(spec, len(spec.shape) == 4) for spec in specs)
    graph.outputs = tuple(_append(graph, network, list(graph.inputs)))
    if graph.unfolded.intersection(graph.outputs):
        raise not_by_strips(f"An output of the model {network.name!r} is a small tensor, reshaped")
    return graph


def _append(graph: Graph, function: keras.Function, inputs: list[int]) -> list[int]:
    nodes = functional_nodes(function)
    if not nodes:
        raise UnknownLayer(f"The model {function.name!r} is not functional, so its layers can't be told apart.")
    numbers = {id(tensor): n for tensor, n in zip(function.inputs, inputs, strict=True)}
    for node in nodes:
        if not node.is_input:
            made = _operation(graph, node.operation, node.arguments, numbers)
            numbers |= {id(t): n for t, n in zip(node.outputs, made, strict=True)}
    return [numbers[id(tensor)] for tensor in keras.tree.flatten(function.outputs)]


def _operation(graph: Graph, operation: keras.Operation, arguments: Arguments, numbers: dict[int, int]) -> list[int]:
    parents = tuple(dict.fromkeys(numbers[id(t)] for t in arguments.keras_tensors))
    if isinstance(operation, keras.Model):
        given, kwargs = arguments.fill_in({id(t): numbers[id(t)] for t in arguments.keras_tensors})
        return _append(graph, operation, given_to_inputs(operation, given[0] if given else kwargs["inputs"]))
    symbolic = {id(t): _spec(graph.values[numbers[id(t)]]) for t in arguments.keras_tensors}
    args, kwargs = arguments.fill_in(symbolic)
    _refuse_pictures_among(args, kwargs, operation)
    _refuse_borders_of_color(kwargs, operation)
    try:
        rule = rule_of(
            operation, _class_name(operation), [_spec(graph.values[p]) for p in _first_maps(graph, parents)], args
        )
    except UnknownLayer:
        if not isinstance(operation, keras.Layer) or operation.weights:
            raise
        return _append(graph, _traced(operation, args, kwargs), [numbers[id(t)] for t in arguments.keras_tensors])
    output = operation.compute_output_spec(*args, **kwargs)

    def call(values: list[Tensor]) -> Tensor:
        by_number = dict(zip(parents, values, strict=True))
        args, kwargs = arguments.fill_in({id(t): by_number[numbers[id(t)]] for t in arguments.keras_tensors})
        return operation(*args, **kwargs)

    return [_step(graph, operation.name, rule, call, parents, output)]


def _step(
    graph: Graph,
    name: str,
    rule: Rule | Reduction | Norm,
    call: Call,
    parents: tuple[int, ...],
    spec: keras.KerasTensor,
) -> int:
    of_maps = any(graph.values[p].is_map for p in parents)
    if not of_maps:
        # A latent that becomes a map: from here on, it goes by strips.
        unfolds = len(spec.shape) == 4 and spec.shape[1] > 1
        output = graph.add(spec, unfolds)
        graph.unfolded |= {output} if unfolds else set()
        graph.steps.append(Step(name, call, parents, output))
    elif isinstance(rule, Norm):
        moments = _gathered(graph, f"{name} (moments)", Moments, parents, (2, 1, 1, spec.shape[-1]))
        output = graph.add(spec, True)
        graph.steps.append(Step(name, rule.apply, (*parents, moments), output, Window()))
    elif isinstance(rule, Reduction):
        output = _gathered(graph, name, rule.gather, parents, rule.shape)
    elif rule.window is None:
        output = graph.add(spec, False)
        graph.steps.append(Step(name, call, parents, output))
    else:
        repeated = type(rule.window) is Window and any(
            graph.values[p].is_map and graph.values[p].height < spec.shape[1] for p in parents
        )
        if repeated:
            raise not_by_strips(f"The operation {name!r} repeats the rows of one of its inputs")
        output = graph.add(spec, True)
        anywhere = parents[0] if isinstance(rule.window, Warped) else None
        of = rule.multiplications * int(np.prod(spec.shape))
        of_kernel = (of, rule.scratch, rule.temporaries)
        step = Step(name, rule.call or call, parents, output, rule.window, None, *of_kernel, anywhere)
        graph.steps.append(step)
    return output


def _gathered(
    graph: Graph, name: str, gather: Callable[[], Gathered], parents: tuple[int, ...], shape: tuple[int, ...]
) -> int:
    output = graph.add(keras.KerasTensor(shape, "float32"), False)

    def shaped(values: list[Tensor]) -> Tensor:
        return ops.convert_to_tensor(np.reshape(values[0], shape).astype("float32"))

    graph.steps.append(Step(name, shaped, parents, output, gather=gather))
    return output


def _spec(value: Value) -> keras.KerasTensor:
    return keras.KerasTensor(value.shape, value.dtype)


def _first_maps(graph: Graph, parents: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(p for p in parents if graph.values[p].is_map)


def _class_name(operation: keras.Operation) -> str:
    """Return the class's name, if it is one of Keras or ours: a user's class may have the name of another."""
    kind = type(operation)
    return kind.__name__ if kind.__module__.startswith(("keras.", "kerasgen.")) else ""


def _traced(layer: keras.Layer, args: tuple[object, ...], kwargs: dict[str, object]) -> keras.Function:
    """Return a layer without weights as the graph of what it computes by keras.ops, at this size."""
    dtype = layer.compute_dtype
    inputs = [keras.KerasTensor(t.shape, dtype) for t in keras.tree.flatten((args, kwargs)) if _is_symbolic(t)]
    rest = iter(inputs)
    args, kwargs = keras.tree.map_structure(lambda t: next(rest) if _is_symbolic(t) else t, (args, kwargs))
    try:
        return keras.Function(inputs, layer.call(*args, **kwargs))
    except Exception as error:  # a layer that isn't made of keras.ops may fail in any way
        raise not_by_strips(f"The layer {layer.name!r} is {a_kind(layer)}") from error


def _refuse_borders_of_color(kwargs: dict[str, object], operation: keras.Operation) -> None:
    """Raise `UnknownLayer` for padding by another constant than 0, which is an argument of the call alone."""
    if kwargs.get("constant_values"):
        raise not_by_strips(f"The operation {operation.name!r} pads by {kwargs['constant_values']}")


def _is_symbolic(argument: object) -> bool:
    return isinstance(argument, keras.KerasTensor)


def _refuse_pictures_among(args: tuple[object, ...], kwargs: dict[str, object], operation: keras.Operation) -> None:
    """Raise `UnknownLayer` for a constant that has rows of its own, which no strip would find."""
    for constant in keras.tree.flatten((args, kwargs)):
        shape = () if _is_symbolic(constant) else tuple(getattr(constant, "shape", ()))
        if len(shape) >= 3 and max(itertools.islice(reversed(shape), 1, 3)) > 1:
            raise not_by_strips(f"The operation {operation.name!r} holds a constant of the shape {shape}")
