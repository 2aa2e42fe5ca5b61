"""SavedModel: what TensorFlow Serving loads. One copy of the weights, and a session can load it.

`model.export` and `tf.saved_model.save(model)` store the weights twice or can't be loaded by a V1 session,
which is how TensorFlow Serving works; a module that holds nothing but the variables has neither fault.
"""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ._runtime import Arrays, Loaded

if TYPE_CHECKING:
    import tensorflow as tf

    from ._signature import Signature, TensorInfo

# The ending tells a person, a shell pattern and `verify` what the folder is.
SUFFIX = ".saved_model"
VARIANTS = ("float32",)

# They run Python or print, which no server does.
_FOREIGN = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "PrintV2", "DebugIdentityV2"}


def export(signature: "Signature", path: Path, variant: str, inputs: Arrays) -> None:
    """Write the folder `path` with the signature `serving_default`."""
    write(path, signature, signature.inputs)


def write(path: Path, signature: "Signature", inputs: "dict[str, TensorInfo]") -> None:
    """Write a SavedModel whose signature has these inputs.

    Raises:
        OSError: TensorFlow can't write there.
    """
    import tensorflow as tf

    served = tf.function(lambda **tensors: signature.call(_ensured(tensors, inputs)), autograph=False)
    specs = {name: tf.TensorSpec(info.shape, info.dtype, name=name) for name, info in inputs.items()}
    concrete = served.get_concrete_function(**specs)
    module = tf.Module()
    module.variables_used = list(concrete.graph.variables)
    try:
        tf.saved_model.save(module, str(path), signatures={"serving_default": concrete})
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _ensured(tensors: "dict[str, tf.Tensor]", inputs: "dict[str, TensorInfo]") -> "dict[str, tf.Tensor]":
    # Without it a request of the wrong rank ends the whole server: a CHECK in the convolution fails.
    import tensorflow as tf

    return {name: tf.ensure_shape(tensor, inputs[name].shape) for name, tensor in tensors.items()}


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
        return session.run(fetch, feed)

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
        load_seconds=seconds,
    )
