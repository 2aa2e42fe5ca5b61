"""Requests that a server replays when it loads a version, so that no client waits for the first run.

TensorFlow Serving reads them from `assets.extra/tf_serving_warmup_requests`. A record that fails there fails the
loading of the whole version, so that each is run in a fresh process before anything is published.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..gate.gate import GateError
from ..gate.process import FreshProcess, RuntimeFailure
from ..gate.runtime import Arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(
    version: Path, name: str, sent: "Mapping[str, Arrays]", batchable: "Mapping[str, bool]", sizes: tuple[int, ...]
) -> int:
    """Write one record for each signature and batch size; returns how many.

    Args:
        version: the SavedModel's folder.
        name: of the model on the server.
        sent: by signature, a batch as a client sends it.
        batchable: by signature, whether its first axis is the batch; a request of another is sent once, as it is.
        sizes: of the batches.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    file = version / FILE
    file.parent.mkdir(exist_ok=True)
    count = 0
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in sent.items():
            for size in sizes if batchable[signature] else sizes[:1]:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                for key, value in inputs.items():
                    rows = np.resize(value, (size, *value.shape[1:])) if batchable[signature] else value
                    request.inputs[key].CopyFrom(_tensor(rows))
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())
                count += 1
    return count


def read_warmup(version: Path) -> "Iterator[tuple[str, Arrays]]":
    """Yield the signature and the inputs of each record; nothing where there is no file."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    if not (version / FILE).is_file():
        return
    for record in tf.data.TFRecordDataset(str(version / FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        yield request.model_spec.signature_name, {k: tf.make_ndarray(t) for k, t in request.inputs.items()}


def replay(version: Path) -> int:
    """Run each record in a fresh process, as the server will; returns how many there are.

    Raises:
        GateError: one fails, or gives values that are not finite.
    """
    records = list(read_warmup(version))
    try:
        with FreshProcess("saved_model", version) as process:
            for signature, inputs in records:
                inputs = {n: v.astype("S") if v.dtype.kind == "O" else v for n, v in inputs.items()}
                for name, value in process.run(signature, inputs).items():
                    if value.dtype.kind == "f" and not np.isfinite(value).all():
                        raise GateError(f"The warm-up request of {signature!r} gave values of {name!r} not finite.")
    except RuntimeFailure as failure:
        raise GateError(f"A warm-up request failed, and nothing was published ({failure}).") from failure
    return len(records)


def _tensor(value: np.ndarray) -> object:
    import tensorflow as tf

    # NumPy's fixed-width strings end at a zero byte, Python's don't.
    return tf.make_tensor_proto(value.astype(object) if value.dtype.kind == "S" else value)
