"""One version in the hands of TensorFlow: loaded, warmed up, and measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kerasgen.export.serving import described, is_batchable, read_warmup

from .batching import Arrays, Batcher, Task
from .costs import Cost, measured, traced_peak
from .memory import Memory
from .refusal import Refusal, invalid

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef


@dataclass(frozen=True)
class Queue:
    """What each version's queue is made with: see `Batcher`."""

    max_rows: int
    max_waiting: int
    threads: int
    memory: Memory


class LoadedVersion:
    """A SavedModel in a V1 session, warmed up, behind its queue.

    Attributes:
        name, number, path: which version it is.
        signatures: SignatureDef messages by name.
        batchable: by signature, whether requests may be joined, and run in parts.
        costs: by signature, the memory that it takes.
        channels: by the name of an input that takes picture files, those that the network takes.
        users: requests that hold it.
    """

    def __init__(self, name: str, number: int, path: Path, queue: Queue):
        import tensorflow as tf

        self.name, self.number, self.path, self.users = name, number, path, 0
        threads = queue.threads
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            meta = _loaded_into(self._session, path)
            self.signatures = {n: d for n, d in sorted(meta.signature_def.items()) if not n.startswith("__")}
            batchable = {name: is_batchable(described(d)) for name, d in self.signatures.items()}
            self.batchable = {name: able and queue.max_rows > 1 for name, able in batchable.items()}
            self.channels = _channels(self.signatures)
            examples: dict[str, Arrays] = {}
            for signature, inputs in read_warmup(path):
                self._run(signature, inputs)
                examples.setdefault(signature, inputs)
            self.costs = {name: self._cost(name, examples.get(name)) for name in self.signatures}
        except BaseException:
            self._session.close()
            raise
        self._batcher = Batcher(self._run, queue.max_rows, queue.max_waiting, threads, queue.memory)

    def submit(self, task: Task) -> None:
        """Put a task whose inputs were checked into the queue.

        Raises:
            Refusal: the queue is full.
        """
        self._batcher.submit(task)

    def close(self) -> None:
        """Answer what waits, and give the memory back."""
        self._batcher.close()
        self._session.close()

    def _run(self, signature: str, inputs: Arrays) -> Arrays:
        import tensorflow as tf

        try:
            return self._session.run(*self._asked(signature, inputs))
        except (tf.errors.ResourceExhaustedError, MemoryError):
            raise Refusal("RESOURCE_EXHAUSTED", "The request needs more memory than there is: shrink it.") from None
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise invalid(f"The model can't use the inputs: {said(error)}") from None

    def _asked(self, signature: str, inputs: Arrays) -> tuple[dict[str, str], Arrays]:
        definition = self.signatures[signature]
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        return {name: info.name for name, info in definition.outputs.items()}, feed

    def _cost(self, signature: str, example: Arrays | None) -> Cost:
        from tensorflow.compat import v1

        def peak(inputs: Arrays) -> int:
            options, metadata = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), v1.RunMetadata()
            asked = self._asked(signature, inputs)
            self._session.run(*asked)  # the first run of a size may do what no other does
            self._session.run(*asked, options=options, run_metadata=metadata)
            return traced_peak(metadata)

        return measured(self.signatures[signature], example, peak)


def said(error: Exception) -> str:
    """Return what an operator said, without the graph's node around it."""
    lines = [line.strip() for line in str(getattr(error, "message", error))[:10_000].splitlines()]
    found = [line for line in lines if line and not line.startswith(("[[", "Graph execution error"))]
    return found[0] if found else type(error).__name__


def _channels(signatures: "dict[str, SignatureDef]") -> dict[str, int]:
    """Return what the network takes behind each input of files: `serving_default` takes the pictures themselves."""
    main = signatures["serving_default"].inputs if "serving_default" in signatures else {}
    sizes = {f"{name}_bytes": [dim.size for dim in info.tensor_shape.dim] for name, info in main.items()}
    return {name: size[3] for name, size in sizes.items() if len(size) == 4 and size[3] in (1, 3, 4)}


def _loaded_into(session: "tf.compat.v1.Session", path: Path) -> "MetaGraphDef":
    """Load a SavedModel; returns its MetaGraphDef."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # it would say that V1 sessions are old; TensorFlow Serving has no others
    try:
        return tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
    finally:
        logger.setLevel(level)
