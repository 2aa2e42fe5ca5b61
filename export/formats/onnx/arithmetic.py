"""Operators on values of different ranks and orders of axes, with NumPy's broadcasting."""

from .graph import Graph, Value

COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor")


def combined(graph: Graph, kind: str, operands: list[Value]) -> Value:
    """Return an elementwise operator of values of one dtype, two at a time where it takes two."""
    first, *others = operands
    if not others:
        return first
    for second in others:
        first = broadcast(graph, kind, [first, second])
    return first


def broadcast(graph: Graph, kind: str, operands: list[Value]) -> Value:
    """Return one elementwise operator of all operands."""
    rank = max(value.rank for value in operands)
    moved = rank > 2 and any(value.moved and value.rank == rank for value in operands)
    names = [aligned(graph, value, rank, moved).name for value in operands]
    shape = _broadcast_shape([value.shape for value in operands])
    dtype = "bool" if kind in COMPARISONS else operands[-1].dtype
    return Value(graph.node(kind, names), shape, dtype, moved)


def aligned(graph: Graph, value: Value, rank: int, moved: bool) -> Value:
    """Return a value that ONNX broadcasts against others of this rank and order."""
    if not moved or value.rank == 0:
        return graph.channels_last(value)
    missing = rank - value.rank
    if missing and value.content is not None:
        content = value.content.reshape((1,) * missing + value.content.shape)
        return value if content.size == 1 else graph.value_of(content, moved=True)
    if missing:
        name = graph.node("Unsqueeze", [graph.channels_last(value).name, graph.integers(list(range(missing)))])
        value = Value(name, (1,) * missing + value.shape, value.dtype)
    return graph.channels_first(value)


def _broadcast_shape(shapes: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*padded, strict=True))


def with_constant(graph: Graph, kind: str, value: Value, number: float) -> Value:
    """Return an elementwise operator of a float32 value and a number."""
    return Value(graph.node(kind, [value.name, graph.scalar(number)]), value.shape, value.dtype, value.moved)


def unary(graph: Graph, kind: str, value: Value, **attributes: object) -> Value:
    """Return an elementwise operator of one value."""
    return Value(graph.node(kind, [value.name], **attributes), value.shape, value.dtype, value.moved)


def clipped(graph: Graph, value: Value, least: float | None, most: float | None) -> Value:
    """Return a float32 value within limits; None is none."""
    limits = ["" if limit is None else graph.scalar(limit) for limit in (least, most)]
    return Value(graph.node("Clip", [value.name, *limits]), value.shape, value.dtype, value.moved)


def reduced(graph: Graph, kind: str, value: Value, axes: list[int], keepdims: bool) -> Value:
    """Return a reduction over some of Keras' axes."""
    axes = sorted({axis % value.rank for axis in axes})
    if value.moved and 0 in axes and not keepdims:
        value = graph.channels_last(value)
    name = graph.reduced(kind, value.name, sorted(value.axis(axis) for axis in axes), keepdims)
    kept = [axis for axis in range(value.rank) if axis not in axes]
    if keepdims:
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
        return Value(name, shape, value.dtype, value.moved)
    # The channels stay before other axes only if both are left.
    moved = value.moved and value.rank - 1 in kept and len(kept) > 2
    return Value(name, tuple(value.shape[axis] for axis in kept), value.dtype, moved)
