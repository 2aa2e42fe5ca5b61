"""TensorFlow Serving: version folders with warm-up requests, published atomically, and what the server is told."""

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kerasgen.errors import UserError, reason

from ..contract.inputs import network_and_inputs
from ..contract.spec import ImageSpec
from ..formats.registry import find_format, signatures_of
from ..gate.runtime import Arrays
from ..publish import Artifact, export_model, network_of
from .files import BATCH_SIZES, write_model_page, write_server_files
from .protos import require_serving
from .versions import (
    STABLE,
    Version,
    check_name,
    label_version,
    list_versions,
    model_names,
    new_version,
    numbers,
    read_config,
    rollback,
)
from .warmup import read_warmup, replay, write_warmup

if TYPE_CHECKING:
    import keras
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    Further = Mapping[str, keras.Model | tuple[keras.Model, object]]

__all__ = [
    "Served",
    "Version",
    "described",
    "dtype_name",
    "export_serving",
    "is_batchable",
    "label_version",
    "list_versions",
    "model_names",
    "numbers",
    "read_config",
    "read_warmup",
    "rollback",
]


@dataclass(frozen=True)
class Served:
    """A published version.

    Attributes:
        path: its folder.
        name: of the model on the server.
        number: of the version.
        signatures: by name, the shapes and dtypes of inputs and outputs.
        warmup: how many requests the server replays when it loads the version.
        max_difference: from Keras, in levels for uint8 pictures.
    """

    path: Path
    name: str
    number: int
    signatures: dict[str, dict]
    warmup: int
    max_difference: float


def export_serving(
    model: "keras.Model",
    base: str | os.PathLike,
    name: str | None = None,
    *,
    version: int | None = None,
    label: str = STABLE,
    inputs: object = None,
    image: ImageSpec | None = None,
    also: "Further | None" = None,
    license: str = "",
    same_network: bool = False,
) -> Served:
    """Publish a Keras model as a version that TensorFlow Serving loads: `BASE/NAME/N/`.

    The SavedModel passes the gate of `export_model`; requests for warming up are written into it and replayed in a
    fresh process; then it gets its name in one rename, which never replaces a version. Beside the versions stand
    models.config, batching.config, monitoring.config, files for Docker and Kubernetes, and pages that say how to ask.

    Args:
        model: any built Keras model on the TensorFlow backend.
        base: the folder that the server watches.
        name: of the model on the server; the Keras model's own by default.
        version: 1 or more; the next free number by default.
        label: what clients may call the version by. "stable" makes the one before it "previous"; with another, such
            as "canary", "stable" stays where it is.
        inputs, image, also, license: as in `export_model`.
        same_network: refuse a name whose newest version has weights of other shapes; always so without a `name`.

    Raises:
        UserError: an argument doesn't fit, the version exists, the name is another's, the folder can't be written
            to, or the extra [serving] is not installed.
        GateError: a check or a warm-up request failed; what was served before is untouched.
    """
    require_serving()
    same_network, name = same_network or name is None, name or model.name
    check_name(name, "model's name")
    check_name(label, "label")
    if version is not None and version < 1:
        raise UserError(f"version is {version}: give 1 or more.")
    base = Path(base)
    sent = _requests(model, inputs, image, also)
    with new_version(base, name, version, label) as (temporary, published):
        artifact = export_model(model, temporary / "model", inputs=inputs, image=image, also=also, license=license)
        if same_network:
            _refuse_another(base / name, artifact.path)
        batchable = {n: is_batchable(tensors) for n, tensors in artifact.signatures.items()}
        write_warmup(artifact.path, name, sent, batchable, (BATCH_SIZES[0], BATCH_SIZES[-1]))
        count = replay(artifact.path)
    (number,) = published
    write_model_page(base / name, name, _in_order(artifact), sent)
    write_server_files(base, all(is_batchable(tensors) for tensors in _newest_signatures(base)))
    path = base / name / str(number)
    return Served(path, name, number, artifact.signatures, count, artifact.parity["max_difference"])


def _refuse_another(served: Path, new: Path) -> None:
    """Raise `UserError` if the newest version of a model has weights of other shapes than a new one."""
    import tensorflow as tf

    def shapes(path: Path) -> list[list[int]]:
        return sorted(shape for _, shape in tf.train.list_variables(str(path / "variables" / "variables")))

    try:
        before = shapes(served / str(numbers(served)[-1])) if served.is_dir() and numbers(served) else None
    except (ValueError, tf.errors.OpError):  # somebody else's, whose variables can't be read
        return
    if before not in (None, shapes(new)):
        raise UserError(
            f"{served} holds another network, whose weights have other shapes, and its clients would get this one: "
            f"give it another name (--name), or name it {served.name!r} yourself if it shall take that one's place."
        )


def is_batchable(tensors: Mapping[str, Mapping[str, dict]]) -> bool:
    """Tell whether the first axis of each input and output of a described signature is the batch."""
    shapes = [info["shape"] for side in ("inputs", "outputs") for info in tensors[side].values()]
    return all(len(shape) > 0 and shape[0] is None for shape in shapes)


def _requests(
    model: "keras.Model", inputs: object, image: ImageSpec | None, also: "Further | None"
) -> dict[str, Arrays]:
    """Return what a client sends to each signature: the batches that the gate compares on."""
    form = find_format("saved_model").FORMAT
    network, arrays = network_and_inputs(model, inputs, image, form)
    others = {name: network_of(other, image, form) for name, other in (also or {}).items()}
    signatures = signatures_of(form, network, image, {name: other for name, (other, _) in others.items()}, "nhwc")
    return {name: s.examples(others[name][1] if name in others else arrays) for name, s in signatures.items()}


def _in_order(artifact: Artifact) -> dict[str, dict]:
    """Return the signatures, the ones that people ask most first."""
    names = sorted(
        artifact.signatures, key=lambda n: ({"bytes": 0, "generate": 1, "serving_default": 2}.get(n, 3), n)
    )
    return {name: artifact.signatures[name] for name in names}


def _newest_signatures(base: Path) -> Iterable[dict[str, dict]]:
    """Describe each signature of each model's newest version; what others have half copied is left out."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    for name in model_names(base):
        file = base / name / str(numbers(base / name)[-1]) / "saved_model.pb"
        try:
            graph = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0]
        except (OSError, DecodeError, IndexError) as error:
            warnings.warn(f"{file.parent} is not a SavedModel that can be read ({reason(error)}).", stacklevel=3)
            continue
        for key, definition in graph.signature_def.items():
            if not key.startswith("__"):
                yield described(definition)


def described(definition: "SignatureDef") -> dict[str, dict]:
    """Return shapes and types of a SignatureDef message's "inputs" and "outputs"; None is any size."""
    return {
        side: {
            name: {
                "shape": [None if d.size == -1 else d.size for d in info.tensor_shape.dim],
                "dtype": dtype_name(info.dtype),
            }
            for name, info in getattr(definition, side).items()
        }
        for side in ("inputs", "outputs")
    }


def dtype_name(number: int) -> str:
    """Return the name of one of TensorFlow's types, such as "uint8"; "string" are files and text."""
    import tensorflow as tf

    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"an unknown type {number}"
