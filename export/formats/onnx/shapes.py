"""The operations of keras.ops that move values: shapes, axes, slices, joins."""

import numpy as np

from .call import Call, Handler, as_array
from .graph import Value
from .layers import END
from .resizing import resize


def reshape(call: Call) -> Value:
    wanted = call.operation.newshape
    sizes = call.whole([wanted] if isinstance(wanted, int) else wanted, "reshapes to a size")
    return call.graph.reshaped(call.value(call.args[0]), sizes, tuple(call.outputs[0].shape))


def ravel(call: Call) -> Value:
    return call.graph.reshaped(call.input, [-1], tuple(call.outputs[0].shape))


def expand_dims(call: Call) -> Value:
    return _with_axes(call, "Unsqueeze", call.operation.axis)


def squeeze(call: Call) -> Value:
    axis = call.operation.axis
    if axis is None:
        raise call.refused("squeezes whatever axes are 1")
    axes = [axis] if isinstance(axis, int) else list(axis)
    return _with_axes(call, "Squeeze", [a % call.input.rank for a in axes])


def _with_axes(call: Call, kind: str, axis: int | list[int] | tuple[int, ...]) -> Value:
    value = call.graph.channels_last(call.input)
    axes = [axis] if isinstance(axis, int) else list(axis)
    return call.result(call.graph.node(kind, [value.name, call.graph.integers(axes)]))


def transpose(call: Call) -> Value:
    axes = call.operation.axes
    return _permuted(call, list(axes) if axes is not None else list(range(call.input.rank))[::-1])


def swapaxes(call: Call) -> Value:
    rank = call.input.rank
    axes, first, second = list(range(rank)), call.operation.axis1 % rank, call.operation.axis2 % rank
    axes[first], axes[second] = second, first
    return _permuted(call, axes)


def moveaxis(call: Call) -> Value:
    numbers = np.moveaxis(
        np.empty(range(1, call.input.rank + 1), "V0"), call.operation.source, call.operation.destination
    )
    return _permuted(call, [size - 1 for size in numbers.shape])


def _permuted(call: Call, axes: list[int]) -> Value:
    value = call.graph.channels_last(call.input)
    perm = [axis % value.rank for axis in axes]
    return call.result(call.graph.node("Transpose", [value.name], perm=perm))


def concatenate(call: Call) -> Value:
    given = call.elements(0, "xs")
    dtype = str(call.outputs[0].dtype)
    values = [call.value(one, dtype) for one in given]
    moved = all(value.moved or value.content is not None for value in values) and values[0].rank > 2
    order = call.graph.channels_first if moved else call.graph.channels_last
    values = [order(value) for value in values]
    axis = values[0].axis(call.operation.axis)
    return call.result(call.graph.node("Concat", [value.name for value in values], axis=axis), moved)


def stack(call: Call) -> Value:
    dtype = str(call.outputs[0].dtype)
    axis = call.operation.axis % len(call.outputs[0].shape)
    values = [call.graph.channels_last(call.value(one, dtype)) for one in call.elements(0, "x")]
    names = [call.graph.node("Unsqueeze", [value.name, call.graph.integers([axis])]) for value in values]
    return call.result(call.graph.node("Concat", names, axis=axis))


def split(call: Call) -> list[Value]:
    value = call.input
    axis = call.operation.axis % value.rank
    sizes = [spec.shape[axis] for spec in call.outputs]
    if None in sizes:
        raise call.refused("splits an axis of any size")
    names = call.graph.split_node(
        "Split", [value.name, call.graph.integers(sizes)], len(sizes), axis=value.axis(axis)
    )
    return [call.result(name, value.moved, index) for index, name in enumerate(names)]


def unstack(call: Call) -> list[Value]:
    value = call.graph.channels_last(call.input)
    axis = call.operation.axis % value.rank
    count = len(call.outputs)
    names = call.graph.split_node("Split", [value.name, call.graph.integers([1] * count)], count, axis=axis)
    axes = call.graph.integers([axis])
    return [call.result(call.graph.node("Squeeze", [name, axes]), index=i) for i, name in enumerate(names)]


def get_item(call: Call) -> Value:
    """Translate x[key] of whole numbers, slices, None and an ellipsis."""
    value, key = call.input, call.argument(1, "key")
    key = key if isinstance(key, tuple) else (key,)
    if not all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in key):
        raise call.refused("takes elements by a list or a tensor")
    given = sum(part is not None and part is not Ellipsis for part in key)
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    at = key.index(Ellipsis)
    key = (*key[:at], *[slice(None)] * (value.rank - given), *key[at + 1 :])
    plain = all(isinstance(part, slice) for part in key)
    value = value if plain else call.graph.channels_last(value)
    name = _sliced(call, value, [part for part in key if part is not None])
    taken = [axis for axis, part in enumerate(part for part in key if part is not None) if isinstance(part, int)]
    if taken:
        name = call.graph.node("Squeeze", [name, call.graph.integers(taken)])
    kept = [part for part in key if not isinstance(part, int)]
    added = [axis for axis, part in enumerate(kept) if part is None]
    if added:
        name = call.graph.node("Unsqueeze", [name, call.graph.integers(added)])
    return call.result(name, plain and value.moved)


def _sliced(call: Call, value: Value, parts: list[int | slice]) -> str:
    starts, ends, axes, steps = [], [], [], []
    for axis, part in enumerate(parts):
        if isinstance(part, int):
            part = slice(part, part + 1 or None)
        if part == slice(None):
            continue
        step = 1 if part.step is None else part.step
        if not all(isinstance(number, (int, type(None))) for number in (part.start, part.stop, step)):
            raise call.refused("takes a slice whose ends are known only when it runs")
        first, last = (0, END) if step > 0 else (END, -END)
        starts.append(first if part.start is None else part.start)
        ends.append(last if part.stop is None else part.stop)
        axes.append(value.axis(axis))
        steps.append(step)
    if not axes:
        return value.name
    return call.graph.node("Slice", [value.name, *map(call.graph.integers, (starts, ends, axes, steps))])


def slice_(call: Call) -> Value:
    """Translate keras.ops.slice."""
    starts = call.whole(call.elements(1, "start_indices"), "slices at a place")
    sizes = call.whole(call.operation.shape, "slices a size")
    value = call.input
    parts: list[int | slice] = [
        slice(start, None if size == -1 else start + size) for start, size in zip(starts, sizes, strict=True)
    ]
    return call.result(_sliced(call, value, parts), value.moved)


def pad(call: Call) -> Value:
    value, modes = call.input, {"constant": "constant", "reflect": "reflect"}
    mode = call.operation.mode
    if mode not in modes:
        raise call.refused(f"pads in the mode {mode!r}")
    width = np.broadcast_to(np.asarray(call.operation.pad_width, "int64"), (value.rank, 2))
    order = sorted(range(value.rank), key=value.axis)
    pads = [int(width[axis, side]) for side in (0, 1) for axis in order]
    filled = call.argument(1, "constant_values")
    names = [value.name, call.graph.integers(pads)]
    if filled is not None:
        names.append(call.graph.constant(as_array(filled).astype(value.dtype)))
    return call.result(call.graph.node("Pad", names, mode=mode), value.moved)


def flip(call: Call) -> Value:
    value, axis = call.input, call.operation.axis
    axes = list(range(value.rank)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    parts: list[int | slice] = [slice(None)] * value.rank
    for axis in axes:
        parts[axis] = slice(None, None, -1)
    return call.result(_sliced(call, value, parts), value.moved)


def tile(call: Call) -> Value:
    value, repeats = call.input, call.operation.repeats
    repeats = [repeats] if isinstance(repeats, int) else list(repeats)
    if len(repeats) > value.rank:
        raise call.refused("tiles to more axes than its tensor has")
    repeats = [1] * (value.rank - len(repeats)) + repeats
    by_axis = [repeats[axis] for axis in sorted(range(value.rank), key=value.axis)]
    return call.result(call.graph.node("Tile", [value.name, call.graph.integers(by_axis)]), value.moved)


def repeat(call: Call) -> Value:
    """Repeat each element of an axis, by a new axis that is tiled."""
    repeats, axis = call.operation.repeats, call.operation.axis
    value = call.graph.channels_last(call.input)
    if not isinstance(repeats, int) or axis is None:
        raise call.refused("repeats the elements of no axis, or each another number of times")
    axis %= value.rank
    name = call.graph.node("Unsqueeze", [value.name, call.graph.integers([axis + 1])])
    times = [1] * (value.rank + 1)
    times[axis + 1] = repeats
    name = call.graph.node("Tile", [name, call.graph.integers(times)])
    shape = [0] * axis + [-1] if axis + 1 == value.rank else None
    if shape is None:
        after = [size for size in value.shape[axis + 1 :] if size is not None]
        if len(after) < value.rank - axis - 1:
            raise call.refused("repeats an axis before one of any size")
        shape = [0] * axis + [-1, *after]
    return call.result(call.graph.node("Reshape", [name, call.graph.integers(shape)]))


def broadcast_to(call: Call) -> Value:
    shape = call.whole(call.operation.shape, "broadcasts to a size")
    value = call.graph.channels_last(call.value(call.args[0]))
    return call.result(call.graph.node("Expand", [value.name, call.graph.integers(shape)]))


OPERATIONS: dict[str, Handler] = {
    "numpy.Reshape": reshape,
    "numpy.Ravel": ravel,
    "numpy.ExpandDims": expand_dims,
    "numpy.Squeeze": squeeze,
    "numpy.Transpose": transpose,
    "numpy.Swapaxes": swapaxes,
    "numpy.Moveaxis": moveaxis,
    "numpy.Concatenate": concatenate,
    "numpy.Stack": stack,
    "numpy.Split": split,
    "numpy.GetItem": get_item,
    "numpy.Pad": pad,
    "numpy.Flip": flip,
    "numpy.Tile": tile,
    "numpy.Repeat": repeat,
    "numpy.BroadcastTo": broadcast_to,
    "core.Slice": slice_,
    "core.Unstack": unstack,
    "image.Resize": resize,
}
