"""SavedModel: what TensorFlow Serving loads. One copy of the weights, and a session can load it.

`model.export` and `tf.saved_model.save(model)` store the weights twice or can't be loaded by a V1 session,
which is how TensorFlow Serving works; a module that holds nothing but the variables has neither fault.
"""

import json
import keyword
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ...contract.format import Format, Variant
from ...gate.runtime import Arrays, Contents, Loaded, without

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import tensorflow as tf

    from ...contract.served import Entry
    from ...contract.signature import Signature
    from ..registry import Request

FORMAT = Format(
    title="SavedModel",
    # The ending tells a person, a shell pattern and `verify` what the folder is.
    suffix=".saved_model",
    variants=(Variant("float32"),),
    modules=("tensorflow",),
    packages=("tensorflow",),
    # tf.function makes Python parameters of the names, and operations.
    names=r"[A-Za-z]\w*",
    reserved=(*keyword.kwlist, "self"),
    several_signatures=True,
    most_weight_bytes=1.1,
    crash=(
        "TensorFlow's own rewriting of graphs for oneDNN crashes on some, in any SavedModel: set "
        "TF_ENABLE_ONEDNN_OPTS=0 here, and for the server"
    ),
)
_NOTES = Path("assets.extra") / "kerasgen.json"  # TensorFlow Serving ignores what else lies in this folder


def export(request: "Request", path: Path) -> None:
    """Write the folder `path` with all signatures of the request."""
    save(path, {name: traced(signature) for name, signature in request.signatures.items()})
    (path / _NOTES).parent.mkdir()
    (path / _NOTES).write_text(json.dumps(request.notes, indent=2) + "\n")


def save(path: Path, functions: "Mapping[str, tf.types.experimental.ConcreteFunction]") -> None:
    """Write a SavedModel of these functions, which share each variable.

    Raises:
        OSError: TensorFlow can't write there.
    """
    import tensorflow as tf

    module = tf.Module()
    variables = [variable for function in functions.values() for variable in function.graph.variables]
    module.variables_used = list({id(variable): variable for variable in variables}.values())
    # Nobody trains an artifact, and tracing the gradients of a flow's activations takes a third of its export.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    try:
        tf.saved_model.save(module, str(path), signatures=dict(functions), options=options)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def traced(signature: "Signature | Entry") -> "tf.types.experimental.ConcreteFunction":
    """Return a signature's graph."""
    import tensorflow as tf

    def served(**tensors: "tf.Tensor") -> "dict[str, tf.Tensor]":
        # Without it a request of the wrong rank ends the whole server: a CHECK in the convolution fails.
        return signature.call({n: tf.ensure_shape(t, signature.inputs[n].shape) for n, t in tensors.items()})

    specs = {name: tf.TensorSpec(info.shape, info.dtype, name=name) for name, info in signature.inputs.items()}
    return tf.function(served, autograph=False).get_concrete_function(**specs)


def contents(path: str) -> Contents:
    """Look into the folder without running anything of it."""
    import_runtime()
    from .operators import look_at, read_graph

    folder = Path(path)
    saved = read_graph(folder)
    operators, foreign = look_at(folder, saved)
    return Contents(
        operators=operators,
        foreign=foreign,
        weight_bytes=sum(f.stat().st_size for f in (folder / "variables").glob("variables.data*")),
        runtime_floor=f"tensorflow {saved.meta_graphs[0].meta_info_def.tensorflow_version}",
        notes=json.loads((folder / _NOTES).read_text()) if (folder / _NOTES).is_file() else {},
    )


def import_runtime() -> "ModuleType":
    """Import TensorFlow without Keras, which it imports if it is there; a server has none."""
    with without("keras"):
        import tensorflow as tf
    return tf


def load(path: str, threads: int = 0) -> Loaded:
    """Load the folder in a V1 session, as TensorFlow Serving does."""
    tf = import_runtime()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    start = time.perf_counter()
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
    seconds = time.perf_counter() - start
    definitions = {n: d for n, d in meta.signature_def.items() if not n.startswith("__")}

    def run(signature: str, inputs: Arrays) -> Arrays:
        definition = definitions[signature]
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetch = {name: info.name for name, info in definition.outputs.items()}
        outputs = session.run(fetch, feed)
        # Strings come as Python objects, which no file of arrays can hold.
        return {name: value.astype("S") if value.dtype.kind == "O" else value for name, value in outputs.items()}

    def described(tensors: dict) -> dict:
        return {
            name: {
                "shape": [None if d.size == -1 else d.size for d in info.tensor_shape.dim],
                "dtype": tf.dtypes.as_dtype(info.dtype).name,
            }
            for name, info in sorted(tensors.items())
        }

    return Loaded(
        runtime=f"tensorflow {tf.__version__} (V1 session)",
        signatures={
            name: {"inputs": described(d.inputs), "outputs": described(d.outputs)} for name, d in definitions.items()
        },
        run=run,
        load_seconds=seconds,
    )
