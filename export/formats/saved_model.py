"""SavedModel: what TensorFlow Serving loads. One copy of the weights, and a session can load it.

`model.export` and `tf.saved_model.save(model)` store the weights twice or can't be loaded by a V1 session,
which is how TensorFlow Serving works; a module that holds nothing but the variables has neither fault.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..gate.runtime import Arrays, Loaded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import tensorflow as tf

    from ..contract.served import Entry
    from ..contract.signature import Signature
    from ..contract.spec import ImageSpec
    from .registry import Request

# The ending tells a person, a shell pattern and `verify` what the folder is.
SUFFIX = ".saved_model"
VARIANTS = ("float32",)
OPTIONS = ("also",)

# They run Python or print, which no server does.
_FOREIGN = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "PrintV2", "DebugIdentityV2"}


def signatures(
    network: "Signature", image: "ImageSpec | None", also: "Mapping[str, Signature]"
) -> "dict[str, Signature | Entry]":
    """Return all that the SavedModel offers."""
    from ..contract.served import served_signatures

    return served_signatures(network, image, also)


def export(request: "Request", path: Path) -> None:
    """Write the folder `path` with all signatures of the request."""
    save(path, {name: traced(signature) for name, signature in request.signatures.items()})
    # TensorFlow Serving ignores what else lies in this folder.
    extra = path / "assets.extra"
    extra.mkdir()
    (extra / "kerasgen.json").write_text(json.dumps(request.notes, indent=2) + "\n")


def save(path: Path, functions: "Mapping[str, tf.types.experimental.ConcreteFunction]") -> None:
    """Write a SavedModel of these functions, which share each variable.

    Raises:
        OSError: TensorFlow can't write there.
    """
    import tensorflow as tf

    module = tf.Module()
    variables = [variable for function in functions.values() for variable in function.graph.variables]
    module.variables_used = list({id(variable): variable for variable in variables}.values())
    try:
        tf.saved_model.save(module, str(path), signatures=dict(functions))
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


def load(path: str, threads: int = 0) -> Loaded:
    """Load the folder in a V1 session, as TensorFlow Serving does."""
    import sys

    # TensorFlow imports Keras if it is there; a server has none.
    hidden = "keras" not in sys.modules
    if hidden:
        sys.modules["keras"] = None
    import tensorflow as tf

    if hidden:
        del sys.modules["keras"]
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

    nodes = [*meta.graph_def.node, *(n for f in meta.graph_def.library.function for n in f.node_def)]
    operators = dict(sorted(Counter(node.op for node in nodes).items()))
    return Loaded(
        runtime=f"tensorflow {tf.__version__} (V1 session)",
        signatures={
            name: {"inputs": described(d.inputs), "outputs": described(d.outputs)} for name, d in definitions.items()
        },
        run=run,
        operators=operators,
        foreign=sorted(_FOREIGN & set(operators)),
        weight_bytes=sum(f.stat().st_size for f in Path(path, "variables").glob("variables.data*")),
        runtime_floor=f"tensorflow {meta.meta_info_def.tensorflow_version}",
        load_seconds=seconds,
    )
