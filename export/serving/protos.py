"""TensorFlow Serving's configuration files as messages: written, read and checked by the protobuf library."""

from typing import TYPE_CHECKING

from kerasgen.errors import UserError, require_extra

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

_WRAPPERS = "google/protobuf/wrappers.proto"
_KINDS = {"bool": 8, "int64": 3, "string": 9}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3

# Two messages of tensorflow/serving (session_bundle_config.proto, monitoring_config.proto) that its package for
# Python doesn't have: the fields that are written here, with their numbers and types.
_BATCHING = {
    "BatchingParameters": [
        ("max_batch_size", 1, ".google.protobuf.Int64Value", _OPTIONAL),
        ("batch_timeout_micros", 2, ".google.protobuf.Int64Value", _OPTIONAL),
        ("max_enqueued_batches", 3, ".google.protobuf.Int64Value", _OPTIONAL),
        ("num_batch_threads", 4, ".google.protobuf.Int64Value", _OPTIONAL),
        ("thread_pool_name", 5, ".google.protobuf.StringValue", _OPTIONAL),
        ("allowed_batch_sizes", 6, "int64", _REPEATED),
        ("pad_variable_length_inputs", 7, "bool", _OPTIONAL),
    ],
}
_MONITORING = {
    "PrometheusConfig": [("enable", 1, "bool", _OPTIONAL), ("path", 2, "string", _OPTIONAL)],
    "MonitoringConfig": [("prometheus_config", 1, ".kerasgen.serving.PrometheusConfig", _OPTIONAL)],
}


def require_serving() -> None:
    """Raise `UserError` unless the extra [serving] is installed."""
    require_extra("serving", "Serving", "tensorflow_serving", "grpc")


def batching_parameters(**values: int | str | bool | list[int]) -> "Message":
    """Return a BatchingParameters message with these values."""
    message = _message_class("batching.proto", _BATCHING, "BatchingParameters")()
    for name, value in values.items():
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            getattr(message, name).value = value
    return message


def monitoring_config(path: str) -> "Message":
    """Return a MonitoringConfig message that switches Prometheus on at `path`."""
    message = _message_class("monitoring.proto", _MONITORING, "MonitoringConfig")()
    message.prometheus_config.enable = True
    message.prometheus_config.path = path
    return message


def model_server_config(text: str = "", source: object = "models.config") -> "Message":
    """Return the ModelServerConfig that a text says.

    Raises:
        UserError: it is not such a text; `source` names it.
    """
    from google.protobuf import text_format

    require_serving()
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    try:
        return text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise UserError(f"{source} is not a model configuration ({error}): mend it, or remove it.") from error


def as_text(message: "Message") -> str:
    """Return a message as protobuf's text format."""
    from google.protobuf import text_format

    return text_format.MessageToString(message)


def service_descriptors() -> bytes:
    """Return TensorFlow Serving's two services with all that they need as a FileDescriptorSet, for grpcurl."""
    require_serving()
    from google.protobuf import descriptor_pb2
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    found = descriptor_pb2.FileDescriptorSet()
    seen = set()

    def add(file: "FileDescriptor") -> None:
        if file.name not in seen:
            seen.add(file.name)
            for needed in file.dependencies:
                add(needed)
            file.CopyToProto(found.file.add())

    for module in (prediction_service_pb2, model_service_pb2):
        add(module.DESCRIPTOR)
    return found.SerializeToString(deterministic=True)


def _message_class(file_name: str, messages: dict, wanted: str) -> type:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    file = descriptor_pb2.FileDescriptorProto(
        name=f"kerasgen/{file_name}", package="kerasgen.serving", syntax="proto3", dependency=[_WRAPPERS]
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label in fields:
            own = {"type": _KINDS[kind]} if kind in _KINDS else {"type": _MESSAGE, "type_name": kind}
            message.field.add(name=field, number=number, label=label, **own)
    # A pool of its own: TensorFlow Serving's package may one day register these messages itself.
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"kerasgen.serving.{wanted}"))
