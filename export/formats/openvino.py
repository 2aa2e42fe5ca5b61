"""OpenVINO: what Intel's CPUs, GPUs and NPUs run. A folder with the graph, the weights and the notes.

It is converted from the SavedModel of `saved_model.save`; batch, height and width may stay open.
"""

import contextlib
import io
import json
import keyword
import logging
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.format import Format, Variant
from ..gate.runtime import Arrays, Contents, Loaded, without

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    import openvino

    from .registry import Request

FORMAT = Format(
    title="OpenVINO",
    suffix=".openvino",
    variants=(
        Variant("float32"),
        Variant("float16", share=0.5, least_psnr=60.0),
        Variant("weight_int8", share=0.25, least_psnr=33.0),
    ),
    modules=("openvino", "nncf"),
    extra="openvino",
    packages=("tensorflow", "openvino", "nncf"),
    names=r"[A-Za-z]\w*",  # as a SavedModel, which it is converted from
    reserved=(*keyword.kwlist, "self"),
)
_GRAPH, _WEIGHTS, _NOTES = "model.xml", "model.bin", "kerasgen.json"
_TELEMETRY = "openvino_telemetry"
_ROUNDABLE = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "MatMul")


def export(request: "Request", path: Path) -> None:
    """Write the folder `path`.

    Raises:
        UserError: the network draws random numbers.
    """
    from kerasgen.files import scratch

    from .rewriting import cloned, placed
    from .saved_model import save, traced
    from .tf_graph import quiet_tensorflow, refuse_randomness

    openvino, signature = import_runtime(), request.main
    function = traced(cloned(signature, placed))
    refuse_randomness(function.graph, signature.model.name, FORMAT.title)
    with scratch() as folder, quiet_tensorflow():
        save(folder / "saved", {"serving_default": function})
        model = openvino.convert_model(folder / "saved")
        ports = _by_name(model.inputs, signature.inputs) + _by_name(model.outputs, signature.outputs)
        _set_outputs_apart(model)
        for name, port in ports:
            port.get_tensor().set_names({name})
        _write(model, request, path, half=False)


def rounded(request: "Request", source: Path, path: Path) -> None:
    """Write the request's variant of the float32 folder `source`.

    Raises:
        UserError: the network has nothing that the variant could round.
    """
    from ..contract.calibration import refuse_without_weights

    model = import_runtime().Core().read_model(source / _GRAPH)
    if request.variant == "float16":
        _write(model, request, path, half=True)
        return
    refuse_without_weights(request.variant, contents(str(source)).operators, _ROUNDABLE)
    with without(_TELEMETRY):
        import nncf
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bar
        # The weights alone: with 8-bit activations too, a generator with instance norms came out at 18 dB.
        rounded_model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    _write(rounded_model, request, path, half=False)


def _set_outputs_apart(model: "openvino.Model") -> None:
    """Give each output a tensor of its own, which has one name: an input may be an output, and one output be two."""
    from openvino import opset13

    taken = set()
    for result in model.get_results():
        source = result.input(0).get_source_output()
        node = source.get_node()
        place = (node.get_name(), source.get_index())
        if place in taken or node.get_type_name() == "Parameter":
            copy = opset13.convert(source, source.get_element_type().get_type_name())
            result.input(0).replace_source_output(copy.output(0))
        taken.add(place)
    model.validate_nodes_and_infer_types()


def _by_name(ports: list, names: "Iterable[str]") -> "list[tuple[str, openvino.Output]]":
    """Return the signature's names, each with its port of a converted model; the tensors' names end with them.

    One tensor that leaves under several names has them all at each of its ports: any of these will do for any name.
    """
    left, found = list(ports), []
    for name in names:
        port = next(port for port in left if name in _names(port))
        found.append((name, port))
        left.remove(port)
    return found


def _names(port: "openvino.Output") -> set[str]:
    return {name.split(":")[0].removeprefix("serving_default_") for name in port.get_names()}


def _write(model: "openvino.Model", request: "Request", path: Path, half: bool) -> None:
    path.mkdir()
    import_runtime().save_model(model, path / _GRAPH, compress_to_fp16=half)
    (path / _NOTES).write_text(json.dumps(request.notes, indent=2) + "\n")


def import_runtime() -> "ModuleType":
    """Import OpenVINO without its telemetry.

    That sends to the network what is converted, unasked, and forks the whole process for each of dozens of messages:
    exports took three times as long.
    """
    with without(_TELEMETRY):
        import openvino
    return openvino


def contents(path: str) -> Contents:
    """Look into the folder without running anything of it."""
    from xml.etree import ElementTree

    folder = Path(path)
    layers = ElementTree.parse(folder / _GRAPH).getroot().findall(".//layer")
    versions = {layer.get("version", "") for layer in layers}
    return Contents(
        operators=dict(sorted(Counter(layer.get("type", "") for layer in layers).items())),
        # An extension is code that somebody else would have to bring.
        foreign=sorted({f"{x.get('type')} of {x.get('version')}" for x in layers if not _standard(x.get("version"))}),
        weight_bytes=(folder / _WEIGHTS).stat().st_size,
        runtime_floor=f"openvino with {max(versions, key=_number)}",
        notes=json.loads((folder / _NOTES).read_text()) if (folder / _NOTES).is_file() else {},
    )


def _standard(version: str | None) -> bool:
    return (version or "").startswith("opset")


def _number(version: str) -> int:
    return int(version.removeprefix("opset")) if version.removeprefix("opset").isdecimal() else 0


def load(path: str, threads: int = 0) -> Loaded:
    """Load the folder in OpenVINO on the CPU, which computes in float32 where the graph does."""
    openvino = import_runtime()
    start = time.perf_counter()
    settings: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32"}
    settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
    compiled = openvino.Core().compile_model(Path(path, _GRAPH), "CPU", settings)
    seconds = time.perf_counter() - start

    def run(signature: str, inputs: Arrays) -> Arrays:
        results = compiled(inputs)
        return {port.any_name: results[port] for port in compiled.outputs}

    def described(ports: list) -> dict:
        return {
            port.any_name: {
                "shape": [None if size.is_dynamic else size.get_length() for size in port.partial_shape],
                "dtype": port.element_type.to_dtype().name,
            }
            for port in ports
        }

    return Loaded(
        runtime=f"openvino {openvino.__version__}",
        signatures={
            "serving_default": {"inputs": described(compiled.inputs), "outputs": described(compiled.outputs)}
        },
        run=run,
        load_seconds=seconds,
    )
