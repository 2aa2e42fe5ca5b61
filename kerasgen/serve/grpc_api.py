"""TensorFlow Serving's gRPC services: Predict, GetModelMetadata, GetModelStatus."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kerasgen.errors import UserError

from . import requests
from .refusal import Refusal, invalid
from .service import Asked, Service

_THREADS = 64  # each waits for one answer


def start_grpc(service: Service, port: int) -> tuple[Any, int]:
    """Start to listen on 127.0.0.1; returns gRPC's server and the port (0 asks for a free one).

    Raises:
        UserError: the port is taken.
    """
    import grpc

    limits = service.limits
    options = [
        # Somewhat more than we take ourselves, so that a client gets a sentence for what is too large.
        ("grpc.max_receive_message_length", 4 * limits.bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, "grpc"), options=options, maximum_concurrent_rpcs=limits.connections
    )
    server.add_generic_rpc_handlers(_handlers(service))
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise UserError(f"Port {port} of 127.0.0.1 can't be had: choose another with --grpc-port.") from error
    server.start()
    return server, bound


def _handlers(service: Service) -> list[Any]:
    import grpc

    methods = {
        "PredictionService": {"Predict": _predict, "GetModelMetadata": _metadata},
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


def _guarded(service: Service, method: Callable[[Service, bytes, Any], Any]) -> Callable[[bytes, Any], bytes]:
    import grpc
    from google.protobuf.message import DecodeError

    def call(content: bytes, context: Any) -> bytes:
        try:
            if len(content) > service.limits.bytes:
                most = f"{service.limits.bytes / 2**20:.0f} MiB"
                raise invalid(f"The request has {len(content):,} bytes, but at most {most} are taken: send less.")
            return method(service, content, context).SerializeToString()
        except Refusal as refusal:
            context.abort(getattr(grpc.StatusCode, refusal.code), refusal.message)
        except DecodeError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The bytes are not a message of this method.")

    return call


def _predict(service: Service, content: bytes, context: Any) -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest.FromString(content)

    def read(definition: Any) -> requests.Arrays:
        return requests.from_protos(definition, request.inputs, service.limits.pixels)

    version, signature, outputs = service.predict(
        _asked(request.model_spec),
        request.model_spec.signature_name,
        read,
        request.output_filter,
        context.time_remaining(),
    )
    response = predict_pb2.PredictResponse()
    _say_version(response.model_spec, version.name, version.number, signature)
    for name, value in outputs.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return response


def _metadata(service: Service, content: bytes, context: Any) -> Any:
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest.FromString(content)
    if list(request.metadata_field) != ["signature_def"]:
        raise invalid(f'metadata_field is {list(request.metadata_field)}, but only ["signature_def"] is known.')
    return metadata(service, _asked(request.model_spec))


def _status(service: Service, content: bytes, context: Any) -> Any:
    from tensorflow_serving.apis import get_model_status_pb2

    return status(service, _asked(get_model_status_pb2.GetModelStatusRequest.FromString(content).model_spec))


def metadata(service: Service, asked: Asked) -> Any:
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


def status(service: Service, asked: Asked) -> Any:
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


def _asked(spec: Any) -> Asked:
    # No version has the number 0; some clients (ovmsclient) send it for "any".
    return Asked(spec.name, spec.version.value or None, spec.version_label or None)


def _say_version(spec: Any, name: str, number: int, signature: str) -> None:
    spec.name = name
    spec.version.value = number
    spec.signature_name = signature
