"""The operations of keras.ops that compute values: operators on tensors, functions, reductions, products."""

import dataclasses

import keras
import numpy as np

from . import activations, norms
from .arithmetic import broadcast, clipped, combined, reduced, unary, with_constant
from .call import Call, Handler, as_array
from .graph import Value


def binary(kind: str) -> Handler:
    """Return the handler of an operation of two operands, either of which may be a number or an array."""

    def operate(call: Call) -> Value:
        return broadcast(call.graph, kind, _two(call))

    return operate


def floor_divide(call: Call) -> Value:
    x, y = _two(call)
    if x.dtype.startswith("float"):
        return unary(call.graph, "Floor", broadcast(call.graph, "Div", [x, y]))
    exact = broadcast(call.graph, "Sub", [x, broadcast(call.graph, "Mod", [x, y])])
    return broadcast(call.graph, "Div", [exact, y])  # which ONNX would cut towards 0


def modulo(call: Call) -> Value:
    x, y = _two(call)
    if not x.dtype.startswith("float"):
        return broadcast(call.graph, "Mod", [x, y])  # of the divisor's sign, as Python's
    times = unary(call.graph, "Floor", broadcast(call.graph, "Div", [x, y]))
    return broadcast(call.graph, "Sub", [x, broadcast(call.graph, "Mul", [times, y])])


def _two(call: Call) -> list[Value]:
    """Return the operands of an operation of two, in the dtype of its result."""
    dtype = keras.backend.standardize_dtype(call.outputs[0].dtype)
    return [call.value(call.argument(i, f"x{i + 1}"), dtype) for i in (0, 1)]


def one_hot(call: Call) -> Value:
    """Translate one_hot by a comparison: ONNX' own counts -1 from the end, and Keras gives zeros."""
    operation, graph = call.operation, call.graph
    indices = graph.channels_last(graph.cast(call.input, "int32"))
    axis = operation.axis % (indices.rank + 1)
    shape = [operation.num_classes if i == axis else 1 for i in range(indices.rank + 1)]
    classes = graph.constant(np.arange(operation.num_classes, dtype="int32").reshape(shape))
    raised = graph.node("Unsqueeze", [indices.name, graph.integers([axis])])
    result = call.result(graph.node("Equal", [raised, classes]))
    return graph.cast(dataclasses.replace(result, dtype="bool"), result.dtype)


def comparison(kind: str) -> Handler:
    """Return the handler of an operation that compares two operands, in the dtype to which Keras brings both."""

    def compare(call: Call) -> Value:
        given = [call.argument(i, f"x{i + 1}") for i in (0, 1)]
        dtype = keras.backend.result_type(*(_dtype(operand) for operand in given))
        return broadcast(call.graph, kind, [call.value(operand, dtype) for operand in given])

    return compare


def logical(kind: str) -> Handler:
    """Return the handler of an operation on truth values."""

    def operate(call: Call) -> Value:
        return broadcast(call.graph, kind, [call.value(given, "bool") for given in call.args])

    return operate


def _dtype(operand: object) -> object:
    if isinstance(operand, (bool, int, float)):
        return type(operand)  # a bare number has no precision of its own
    return operand.dtype if isinstance(operand, Value) else as_array(operand).dtype.name


def function(kind: str) -> Handler:
    """Return the handler of an operation that is one operator of one tensor."""

    def apply(call: Call) -> Value:
        return unary(call.graph, kind, _floats(call))

    return apply


def activation(name: str, **options: str) -> Handler:
    """Return the handler of an activation function; `options` are its parameters by the operation's attributes."""

    def apply(call: Call) -> Value:
        given = {parameter: getattr(call.operation, attribute) for parameter, attribute in options.items()}
        return getattr(activations, name)(call.graph, _floats(call), **given)

    return apply


def _floats(call: Call) -> Value:
    """Return the one tensor of an operation that gives floats, as Keras brings integers to floats."""
    return call.value(
        call.args[0] if call.args else call.input, keras.backend.standardize_dtype(call.outputs[0].dtype)
    )


def log1p(call: Call) -> Value:
    return unary(call.graph, "Log", with_constant(call.graph, "Add", _floats(call), 1.0))


def expm1(call: Call) -> Value:
    return with_constant(call.graph, "Sub", unary(call.graph, "Exp", _floats(call)), 1.0)


def square(call: Call) -> Value:
    return combined(call.graph, "Mul", [call.input, call.input])


def rsqrt(call: Call) -> Value:
    return unary(call.graph, "Reciprocal", unary(call.graph, "Sqrt", _floats(call)))


def relu(call: Call) -> Value:
    return unary(call.graph, "Relu", call.input)


def relu6(call: Call) -> Value:
    return clipped(call.graph, call.input, 0.0, 6.0)


def hard_tanh(call: Call) -> Value:
    return clipped(call.graph, call.input, -1.0, 1.0)


def clip(call: Call) -> Value:
    value = _floats(call)
    limits = [call.operation.x_min, call.operation.x_max]
    if value.dtype == "float32" and all(isinstance(limit, (int, float)) for limit in limits):
        return clipped(call.graph, value, *map(float, limits))
    for kind, limit in zip(("Max", "Min"), limits, strict=True):
        value = broadcast(call.graph, kind, [value, call.value(limit, value.dtype)])
    return value


def cast(call: Call) -> Value:
    dtype = keras.backend.standardize_dtype(call.operation.dtype)
    if dtype in ("bfloat16", "float16"):
        raise call.refused(f"casts to {dtype}")
    return call.graph.cast(call.input, dtype)


def where(call: Call) -> Value:
    dtype = keras.backend.standardize_dtype(call.outputs[0].dtype)
    condition = call.value(call.argument(0, "condition"), "bool")
    chosen, other = (call.value(call.argument(i, f"x{i}"), dtype) for i in (1, 2))
    return activations.where(call.graph, condition, chosen, other)


def reduction(kind: str) -> Handler:
    """Return the handler of a sum, a mean or an extreme over axes."""

    def reduce(call: Call) -> Value:
        if getattr(call.operation, "initial", None) is not None:
            raise call.refused("has an initial value")
        dtype = keras.backend.standardize_dtype(call.outputs[0].dtype)
        # Truth values have no extreme in ONNX.
        value = call.graph.cast(call.input, "int32" if dtype == "bool" else dtype)
        return call.graph.cast(_reduced(call, kind, value, call.operation.keepdims), dtype)

    return reduce


def _axes(call: Call, value: Value) -> list[int]:
    axis = call.operation.axis
    if axis is None:
        return list(range(value.rank))
    return [axis] if isinstance(axis, int) else list(axis)


def _reduced(call: Call, kind: str, value: Value, keepdims: bool) -> Value:
    """Return a reduction; a mean that 16 bits will compute takes one axis after the other, not to overflow."""
    axes = _axes(call, value)
    if not (call.graph.half and kind == "ReduceMean" and len(axes) > 1):
        return reduced(call.graph, kind, value, axes, keepdims)
    axes = sorted(axis % value.rank for axis in axes)
    for axis in axes[:0:-1]:
        value = reduced(call.graph, kind, value, [axis], True)
    value = reduced(call.graph, kind, value, [axes[0]], True)
    if keepdims:
        return value
    plain = call.graph.channels_last(value)
    return call.result(call.graph.node("Squeeze", [plain.name, call.graph.integers(axes)]))


def variance(call: Call) -> Value:
    value = _floats(call)
    middle = _reduced_all(call, value, True)
    centered = broadcast(call.graph, "Sub", [value, middle])
    squares = combined(call.graph, "Mul", [centered, centered])
    return _reduced(call, "ReduceMean", squares, call.operation.keepdims)


def _reduced_all(call: Call, value: Value, keepdims: bool) -> Value:
    return _reduced(call, "ReduceMean", value, keepdims)


def deviation(call: Call) -> Value:
    return unary(call.graph, "Sqrt", variance(call))


def log_sum_exp(call: Call) -> Value:
    return reduced(call.graph, "ReduceLogSumExp", call.input, _axes(call, call.input), call.operation.keepdims)


def place(kind: str) -> Handler:
    """Return the handler of the place of an extreme, along one axis or among all numbers."""

    def find(call: Call) -> Value:
        graph, axis, keepdims = call.graph, call.operation.axis, call.operation.keepdims
        value = graph.channels_last(call.input)
        if axis is None:
            flat = graph.node("Reshape", [value.name, graph.integers([-1])])
            found = graph.node(kind, [flat], axis=0, keepdims=0)
            found = graph.node("Reshape", [found, graph.integers([1] * value.rank * keepdims)])
        else:
            found = graph.node(kind, [value.name], axis=axis % value.rank, keepdims=int(keepdims))
        result = call.result(found)
        return graph.cast(dataclasses.replace(result, dtype="int64"), result.dtype)

    return find


def matmul(call: Call) -> Value:
    dtype = keras.backend.standardize_dtype(call.outputs[0].dtype)
    operands = [call.graph.channels_last(call.value(call.argument(i, f"x{i + 1}"), dtype)) for i in (0, 1)]
    return call.result(call.graph.node("MatMul", [operand.name for operand in operands]))


def einsum(call: Call) -> Value:
    dtype = keras.backend.standardize_dtype(call.outputs[0].dtype)
    operands = [call.graph.channels_last(call.value(given, dtype)) for given in call.args]
    equation = call.operation.subscripts.replace(" ", "")
    return call.result(call.graph.node("Einsum", [operand.name for operand in operands], equation=equation))


def normalize(call: Call) -> Value:
    """Translate keras.ops.normalize, a division by the length."""
    if call.operation.order != 2:
        raise call.refused("normalizes by another order than 2")
    epsilon = call.operation.epsilon
    return norms.divided_by_length(call, keras.config.epsilon() if epsilon is None else epsilon)


def softmax(call: Call) -> Value:
    if not isinstance(call.operation.axis, int):
        raise call.refused("is a softmax over several axes")
    return activations.softmax(call.graph, call.input, call.operation.axis)


def ones_like(call: Call) -> Value:
    return _like(call, 1)


def zeros_like(call: Call) -> Value:
    return _like(call, 0)


def _like(call: Call, number: int) -> Value:
    value = call.input
    shape = call.graph.node("Shape", [value.name])
    filled = call.graph.constant(np.array([number], keras.backend.standardize_dtype(call.outputs[0].dtype)))
    return call.result(call.graph.node("Expand", [filled, shape]), value.moved)


def identity(call: Call) -> Value:
    return call.input


OPERATIONS: dict[str, Handler] = {
    "numpy.Add": binary("Add"),
    "numpy.Subtract": binary("Sub"),
    "numpy.Multiply": binary("Mul"),
    "numpy.Divide": binary("Div"),
    "numpy.TrueDivide": binary("Div"),
    "numpy.FloorDivide": floor_divide,
    "numpy.Mod": modulo,
    "numpy.Power": binary("Pow"),
    "numpy.Maximum": binary("Max"),
    "numpy.Minimum": binary("Min"),
    "numpy.Equal": comparison("Equal"),
    "numpy.Greater": comparison("Greater"),
    "numpy.GreaterEqual": comparison("GreaterOrEqual"),
    "numpy.Less": comparison("Less"),
    "numpy.LessEqual": comparison("LessOrEqual"),
    "numpy.LogicalAnd": logical("And"),
    "numpy.LogicalOr": logical("Or"),
    "numpy.LogicalXor": logical("Xor"),
    "numpy.LogicalNot": logical("Not"),
    "numpy.Absolute": function("Abs"),
    "numpy.Abs": function("Abs"),
    "numpy.Negative": function("Neg"),
    "numpy.Sign": function("Sign"),
    "numpy.Exp": function("Exp"),
    "numpy.Log": function("Log"),
    "numpy.Sqrt": function("Sqrt"),
    "numpy.Sin": function("Sin"),
    "numpy.Cos": function("Cos"),
    "numpy.Tanh": function("Tanh"),
    "numpy.Floor": function("Floor"),
    "numpy.Ceil": function("Ceil"),
    "numpy.Reciprocal": function("Reciprocal"),
    "numpy.Square": square,
    "numpy.Log1p": log1p,
    "numpy.Expm1": expm1,
    "numpy.Clip": clip,
    "numpy.Where": where,
    "numpy.Mean": reduction("ReduceMean"),
    "numpy.Sum": reduction("ReduceSum"),
    "numpy.Max": reduction("ReduceMax"),
    "numpy.Min": reduction("ReduceMin"),
    "numpy.Amax": reduction("ReduceMax"),
    "numpy.Amin": reduction("ReduceMin"),
    "numpy.Argmax": place("ArgMax"),
    "numpy.Argmin": place("ArgMin"),
    "numpy.Prod": reduction("ReduceProd"),
    "numpy.Var": variance,
    "numpy.Std": deviation,
    "numpy.Matmul": matmul,
    "numpy.Einsum": einsum,
    "numpy.OnesLike": ones_like,
    "numpy.ZerosLike": zeros_like,
    "core.Cast": cast,
    "core.StopGradient": identity,
    "math.Erf": function("Erf"),
    "math.Rsqrt": rsqrt,
    "math.Logsumexp": log_sum_exp,
    "nn.Relu": relu,
    "nn.Relu6": relu6,
    "nn.Sigmoid": function("Sigmoid"),
    "nn.Softplus": function("Softplus"),
    "nn.Softsign": function("Softsign"),
    "nn.Selu": function("Selu"),
    "nn.Elu": activation("elu", alpha="alpha"),
    "nn.Celu": activation("celu", alpha="alpha"),
    "nn.LeakyRelu": activation("leaky_relu", slope="negative_slope"),
    "nn.Silu": activation("silu"),
    "nn.HardSigmoid": activation("hard_sigmoid"),
    "nn.HardSilu": activation("hard_silu"),
    "nn.HardTanh": hard_tanh,
    "nn.Gelu": activation("gelu", approximate="approximate"),
    "nn.LogSigmoid": activation("log_sigmoid"),
    "nn.TanhShrink": activation("tanh_shrink"),
    "nn.Softmax": softmax,
    "nn.Normalize": normalize,
    "nn.OneHot": one_hot,
}
