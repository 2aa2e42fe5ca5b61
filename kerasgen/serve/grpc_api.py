"""TensorFlow Serving's gRPC services: Predict, GetModelMetadata, GetModelStatus."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

from kerasgen.errors import UserError

from . import requests
from .batching import Arrays, Task
from .refusal import Refusal, invalid, too_late
from .service import Asked, Service
from .version import LoadedVersion

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    from tensorflow_serving.apis.model_pb2 import ModelSpec

Method: TypeAlias = "Callable[[Service, bytes, grpc.ServicerContext], Message]"

_SPARE = 16  # threads for what is answered at once, though every other waits for a prediction


class GrpcServer:
    """Serves gRPC on 127.0.0.1.

    Args:
        service: whose models are asked.
        port: 0 takes a free one.

    Attributes:
        port: that it listens on.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, service: Service, port: int):
        import grpc

        limits = service.limits
        threads = limits.connections + _SPARE
        options = [
            # Somewhat more than we take ourselves, so that a client gets a sentence for what is too large.
            ("grpc.max_receive_message_length", limits.bytes + 2**20),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.server_handshake_timeout_ms", int(1000 * limits.head_seconds)),
        ]
        pool = ThreadPoolExecutor(threads, "grpc")
        self._server = grpc.server(pool, options=options, maximum_concurrent_rpcs=threads)
        self._server.add_generic_rpc_handlers(_handlers(service))
        try:
            self.port: int = self._server.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError as error:
            raise UserError(f"Port {port} of 127.0.0.1 can't be had: choose another with --grpc-port.") from error
        self._server.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take no more requests, and answer those that run; whatever has no answer by then is canceled."""
        self._server.stop(seconds).wait()


def _handlers(service: Service) -> "list[grpc.GenericRpcHandler]":
    import grpc

    methods: dict[str, dict[str, Method]] = {
        "PredictionService": {"Predict": _Prediction(service.limits.connections), "GetModelMetadata": _metadata},
        "ModelService": {"GetModelStatus": _status},
    }
    return [
        grpc.method_handlers_generic_handler(
            f"tensorflow.serving.{name}",
            # Bytes come in as they are: what is not a message of this kind is the client's mistake, not ours.
            {n: grpc.unary_unary_rpc_method_handler(_guarded(service, method)) for n, method in own.items()},
        )
        for name, own in methods.items()
    ]


def _guarded(service: Service, method: Method) -> "Callable[[bytes, grpc.ServicerContext], bytes]":
    import grpc
    from google.protobuf.message import DecodeError

    def call(content: bytes, context: "grpc.ServicerContext") -> bytes:
        try:
            if len(content) > service.limits.bytes:
                most = f"{service.limits.bytes / 2**20:.0f} MiB"
                raise invalid(f"The request has {len(content):,} bytes, but at most {most} are taken: send less.")
            return method(service, content, context).SerializeToString()
        except Refusal as refusal:
            code, message = getattr(grpc.StatusCode, refusal.code), refusal.message
        except DecodeError:
            code, message = grpc.StatusCode.INVALID_ARGUMENT, "The bytes are not a message of this method."
        except CancelledError:
            code, message = grpc.StatusCode.CANCELLED, "The client is gone."
        context.abort(code, message)
        raise AssertionError("abort raises")

    return call


class _Prediction:
    """The method Predict, for so many requests at a time that threads are left for the other methods."""

    def __init__(self, most: int):
        self._free = threading.Semaphore(most)

    def __call__(self, service: Service, content: bytes, context: "grpc.ServicerContext") -> "Message":
        if not self._free.acquire(blocking=False):
            raise Refusal("UNAVAILABLE", "As many predictions run as can be held: ask again in a moment.")
        try:
            return _predict(service, content, context)
        finally:
            self._free.release()


def _predict(service: Service, content: bytes, context: "grpc.ServicerContext") -> "Message":
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    deadline = service.deadline(context.time_remaining())
    request = predict_pb2.PredictRequest.FromString(content)
    asked = _asked(request.model_spec)

    def read(definition: "SignatureDef") -> Arrays:
        return requests.from_protos(definition, request.inputs, service.limits.pixels)

    with service.models.use(asked.model, asked.version, asked.label) as version:
        task = service.task(version, request.model_spec.signature_name, read, deadline)
        given = version.signatures[task.signature].outputs
        wanted = set(request.output_filter) or set(given)
        if not wanted <= set(given):
            raise invalid(f"The signature {task.signature!r} gives {', '.join(given)}: ask for these.")
        outputs = _answer(version, task, context)
    response = predict_pb2.PredictResponse()
    _say_version(response.model_spec, version.name, version.number, task.signature)
    for name in wanted:
        response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
    return response


def _answer(version: LoadedVersion, task: Task, context: "grpc.ServicerContext") -> Arrays:
    """Wait for an answer, as long as there is time and the client is there."""
    if not context.add_callback(task.answer.cancel):  # called once the client is gone
        task.answer.cancel()
    version.submit(task)  # only now, so that nobody who is gone takes a place in the queue, even for a moment
    try:
        return task.answer.result(max(0.0, task.deadline - time.monotonic()))
    except TimeoutError:
        task.answer.cancel()
        raise too_late() from None


def _metadata(service: Service, content: bytes, context: "grpc.ServicerContext") -> "Message":
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest.FromString(content)
    if list(request.metadata_field) != ["signature_def"]:
        raise invalid(f'metadata_field is {list(request.metadata_field)}, but only ["signature_def"] is known.')
    return metadata(service, _asked(request.model_spec))


def _status(service: Service, content: bytes, context: "grpc.ServicerContext") -> "Message":
    from tensorflow_serving.apis import get_model_status_pb2

    return status(service, _asked(get_model_status_pb2.GetModelStatusRequest.FromString(content).model_spec))


def metadata(service: Service, asked: Asked) -> "Message":
    """Return the GetModelMetadataResponse of a version.

    Raises:
        Refusal: there is no such version.
    """
    from tensorflow_serving.apis import get_model_metadata_pb2

    with service.models.use(asked.model, asked.version, asked.label) as version:
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=version.signatures)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _say_version(response.model_spec, version.name, version.number, "")
    response.metadata["signature_def"].Pack(signatures)
    return response


def status(service: Service, asked: Asked) -> "Message":
    """Return the GetModelStatusResponse of a model, or of one version.

    Raises:
        Refusal: there is no such model or version.
    """
    from tensorflow_serving.apis import get_model_status_pb2

    response = get_model_status_pb2.GetModelStatusResponse()
    for number, state, error in service.models.states(asked.model, asked.version, asked.label):
        found = response.model_version_status.add(version=number)
        found.state = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        found.status.error_code = 2 if error else 0  # UNKNOWN, OK
        found.status.error_message = error
    return response


def _asked(spec: "ModelSpec") -> Asked:
    # No version has the number 0; some clients (ovmsclient) send it for "any".
    return Asked(spec.name, spec.version.value or None, spec.version_label or None)


def _say_version(spec: "ModelSpec", name: str, number: int, signature: str) -> None:
    spec.name = name
    spec.version.value = number
    spec.signature_name = signature
