"""What tf2onnx writes a little wrong, put right in its graph."""

import numpy as np
import onnx

from ..resize import nearest_places

_WHOLE = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


def mend(model: onnx.ModelProto) -> None:
    """Mend the graph in place.

    Its resizes reach their sizes, no transposed convolution is padded below 0, and whole numbers are compared as
    such.
    """
    shapes = _known_shapes(model)
    _compare_whole_numbers(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "ConvTranspose":
            _reach_beyond_the_kernels(node)
        nodes += _resized(model.graph, node, shapes) if node.op_type == "Resize" else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _known_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shapes of the graph's tensors; 0 stands for an open size."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = [*graph.input, *graph.value_info]
    return {info.name: [size.dim_value for size in info.type.tensor_type.shape.dim] for info in found}


def _resized(graph: onnx.GraphProto, node: onnx.NodeProto, shapes: dict[str, list[int]]) -> list[onnx.NodeProto]:
    """Return what stands for a resize by constant scales: 14 × float32(22 / 14) is below 22, and would give 21."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    scales = constants.get(node.input[2]) if len(node.input) == 3 else None
    old = shapes.get(node.input[0], [])[2:]
    if scales is None or len(old) != 2 or not all(old):
        return [node]
    new = [
        round(size * float(scale)) for size, scale in zip(old, onnx.numpy_helper.to_array(scales)[2:], strict=True)
    ]
    if any(attribute.name == "mode" and attribute.s == b"nearest" for attribute in node.attribute):
        return _repeated(graph, node, list(zip(old, new, strict=True)))
    reaching = [1, 1, *(_scale(*sides) for sides in zip(old, new, strict=True))]
    node.input[2] = f"{node.name}_scales"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(reaching, np.float32), node.input[2]))
    return [node]


def _repeated(graph: onnx.GraphProto, node: onnx.NodeProto, sides: list[tuple[int, int]]) -> list[onnx.NodeProto]:
    names = [node.input[0], f"{node.name}_rows", node.output[0]]
    nodes = []
    for i, (old, new) in enumerate(sides):
        places = onnx.numpy_helper.from_array(nearest_places(old, new), f"{node.name}_places_{i}")
        graph.initializer.append(places)
        nodes.append(onnx.helper.make_node("Gather", [names[i], places.name], [names[i + 1]], axis=2 + i))
    return nodes


def _scale(old: int, new: int) -> np.float32:
    """Return the least scale that gives the new size, whether the product is of 32 or of 64 bits."""
    scale = np.float32(new / old)
    while old * float(scale) < new:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale


def _reach_beyond_the_kernels(node: onnx.NodeProto) -> None:
    """Say by `output_padding` how much larger an output is than the kernels reach: padding below 0 is not in ONNX."""
    pads = next((attribute for attribute in node.attribute if attribute.name == "pads"), None)
    if pads is None or min(pads.ints) >= 0:
        return
    half = len(pads.ints) // 2
    pairs = list(zip(pads.ints[:half], pads.ints[half:], strict=True))
    kept = [(before, after) if before + after >= 0 else (0, 0) for before, after in pairs]
    beyond = [max(-before - after, 0) for before, after in pairs]
    pads.ints[:] = [before for before, _ in kept] + [after for _, after in kept]
    node.attribute.append(onnx.helper.make_attribute("output_padding", beyond))


def _compare_whole_numbers(model: onnx.ModelProto) -> None:
    """Take the larger of whole numbers as whole numbers.

    A slice's ends are compared with a billion in float32, which no variant of 16 bits can hold.
    """
    graph = model.graph
    infos = [*onnx.shape_inference.infer_shapes(model).graph.value_info, *graph.input]
    types = {info.name: info.type.tensor_type.elem_type for info in infos}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def whole(name: str) -> bool:
        if name in constants:
            return bool(np.all(constants[name] == np.rint(constants[name])))
        return name in makers and makers[name].op_type == "Cast" and types.get(makers[name].input[0]) in _WHOLE

    for node in [node for node in graph.node if node.op_type == "Max" and all(map(whole, node.input))]:
        read_as = {_cast_to(reader) for reader in readers.get(node.output[0], [])}
        if not read_as or not read_as <= {*_WHOLE}:
            continue
        for i, name in enumerate(node.input):
            node.input[i] = f"{node.name}_whole_{i}"
            if name in constants:
                number = onnx.numpy_helper.from_array(constants[name].astype(np.int64), node.input[i])
                graph.initializer.append(number)
                continue
            cast = onnx.helper.make_node(
                "Cast", [makers[name].input[0]], [node.input[i]], node.input[i], to=onnx.TensorProto.INT64
            )
            graph.node.insert(list(graph.node).index(node), cast)


def _cast_to(node: onnx.NodeProto) -> int | None:
    """Return the type that a node casts to; None if it does something else."""
    return onnx.helper.get_attribute_value(node.attribute[0]) if node.op_type == "Cast" else None
