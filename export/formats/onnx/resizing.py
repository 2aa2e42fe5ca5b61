"""Enlarging and shrinking pictures, as layers and as `keras.ops.image.resize`."""

import numpy as np
from onnx import TensorProto

from ..resize import nearest_places, resize_matrix
from .call import Call
from .graph import Graph, Value

_BILINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def upsampling(call: Call) -> Value:
    layer = call.operation
    value = call.graph.channels_first(call.input)
    if layer.data_format == "channels_first":
        raise call.refused("is channels_first")
    if layer.interpolation == "nearest":
        mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    elif layer.interpolation == "bilinear":
        mode = _BILINEAR
    else:
        size = [None if s is None else s * k for s, k in zip(value.shape[1:3], layer.size, strict=True)]
        return _by_matrices(call, value, size, layer.interpolation, False)
    scales = call.graph.constant(np.array([1, 1, *layer.size], "float32"))
    return call.result(call.graph.node("Resize", [value.name, "", scales], **mode), moved=True)


def resizing(call: Call) -> Value:
    """Translate the layer Resizing."""
    layer = call.operation
    return _resized(call, (layer.height, layer.width))


def resize(call: Call) -> Value:
    """Translate keras.ops.image.resize."""
    return _resized(call, tuple(call.operation.size))


def _resized(call: Call, size: tuple[int, int]) -> Value:
    options = call.operation
    if options.crop_to_aspect_ratio or options.pad_to_aspect_ratio or options.data_format == "channels_first":
        raise call.refused("keeps the aspect ratio, or is channels_first")
    if call.input.rank != 4 or call.input.dtype != "float32":
        raise call.refused(f"resizes a tensor of rank {call.input.rank} and dtype {call.input.dtype}")
    value = call.graph.channels_first(call.input)
    if options.interpolation == "nearest":
        return _by_places(call, value, size)
    if options.interpolation != "bilinear" or options.antialias:
        return _by_matrices(call, value, list(size), options.interpolation, options.antialias)
    # Not by the attribute `axes`: ONNX Runtime then fails to infer shapes where the picture's size is open.
    shape = call.graph.node("Shape", [value.name])
    kept = call.graph.node("Slice", [shape, call.graph.integers([0]), call.graph.integers([2])])
    sizes = call.graph.node("Concat", [kept, call.graph.integers(list(size))], axis=0)
    name = call.graph.node("Resize", [value.name, "", "", sizes], **_BILINEAR)
    return call.result(name, moved=True)


def _by_places(call: Call, value: Value, size: tuple[int, int]) -> Value:
    """Repeat or leave out rows and columns, the same as Keras; the runtimes' own resizing rounds in other ways."""
    graph, name = call.graph, value.name
    for axis, (old, new) in enumerate(zip(value.shape[1:3], size, strict=True), start=2):
        places = _open_places(graph, name, axis, new) if old is None else graph.constant(nearest_places(old, new))
        name = graph.node("Gather", [name, places], axis=axis)
    return call.result(name, moved=True)


def _open_places(graph: Graph, name: str, axis: int, new: int) -> str:
    """Compute which of the pixels along an axis are taken, in float32 as TensorFlow does."""
    shape = graph.node("Shape", [name])
    old = graph.node("Slice", [shape, graph.integers([axis]), graph.integers([axis + 1])])
    scale = graph.node("Div", [graph.node("Cast", [old], to=TensorProto.FLOAT), graph.scalar(float(new))])
    middles = graph.constant(np.arange(new, dtype="float32") + np.float32(0.5))
    places = graph.node("Floor", [graph.node("Mul", [middles, scale])])
    last = graph.node("Sub", [old, graph.integers([1])])
    return graph.node("Min", [graph.node("Cast", [places], to=TensorProto.INT64), last])


def _by_matrices(call: Call, value: Value, size: list[int | None], interpolation: str, antialias: bool) -> Value:
    """Resize between known sizes by a matrix product along each axis, which holds for any filter."""
    known = [side for side in (*value.shape[1:3], *size) if side is not None]
    if len(known) < 4:
        raise call.refused(f"resizes pictures of any size by {interpolation}{' with antialiasing' * antialias}")
    height, width, *new = known
    rows, columns = (
        resize_matrix(*sides, interpolation, antialias) for sides in zip((height, width), new, strict=True)
    )
    name = call.graph.node("MatMul", [value.name, call.graph.constant(columns.T)])
    name = call.graph.node("MatMul", [call.graph.constant(rows), name])
    return call.result(name, moved=True)
