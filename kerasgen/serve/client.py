"""Ask a server for pictures: TensorFlow Serving or `kerasgen serve`, by REST or by gRPC.

    from kerasgen.serve.client import Client

    with Client("grpc://127.0.0.1:8500", "generator_a2b") as client:
        answers = client.translate([open("photo.png", "rb").read()])  # PNG files
        client.translate_folder("photos", "translated")

REST needs nothing but Python's own library; gRPC needs the extra [serving].
"""

import base64
import http.client
import json
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import ArrayLike

from kerasgen import values
from kerasgen.data.reading import PictureError, read_picture
from kerasgen.data.sources.source import Fit
from kerasgen.data.targets import Translated, targets, with_bar
from kerasgen.errors import UserError, reason, require_extra
from kerasgen.export.serving import described
from kerasgen.files import atomic_write

from .pictures import as_png, upright

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from tensorflow_serving.apis.model_pb2 import ModelSpec

_Answer = TypeVar("_Answer")

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0  # seconds between tries
# What a server's codes mean, by gRPC's names and REST's numbers: no room or no time for it, or nobody there.
_TOO_MUCH = {"RESOURCE_EXHAUSTED": 429, "DEADLINE_EXCEEDED": 504}
_AWAY = {"UNAVAILABLE": 503}


class ServerError(UserError):
    """A server refused a request, or can't be reached; the message says what it said.

    Attributes:
        refused: whether the request was at fault, so that it would be refused again.
    """

    def __init__(self, message: str, refused: bool = False):
        super().__init__(message)
        self.refused = refused


class _Busy(Exception):
    """A moment's trouble: worth another try."""


class _TooMuch(_Busy):
    """Trouble of a request's size too: worth smaller ones."""


class _Protocol(Protocol):
    def predict(self, signature: str, inputs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]: ...
    def signatures(self) -> dict[str, dict]: ...
    def close(self) -> None: ...


class Client:
    """One model on a server.

    Args:
        url: "http://HOST:8501" for REST, "grpc://HOST:8500" for gRPC.
        model: its name on the server.
        version: its number; by default what the server takes.
        label: of a version, instead of a number.
        timeout: seconds for one request.
        tries: how often a request is sent while the server is busy or away, with longer and longer pauses.

    Raises:
        UserError: the URL is neither, or the extra [serving] is missing for gRPC.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 60.0,
        tries: int = 5,
    ):
        scheme, host, port = _address(url)
        if version is not None and label is not None:
            raise UserError(f"Both the version {version} and the label {label!r} are given: leave one out.")
        if version is not None:
            values.whole("version", version, most=2**63 - 1)
        values.number("timeout", timeout, above=0)
        values.whole("tries", tries)
        kind = _Rest if scheme == "http" else _Grpc
        self._protocol: _Protocol = kind(host, port, model, version, label, timeout)
        self._url, self._tries = url, tries
        self._signatures: dict[str, dict] | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._protocol.close()

    def signatures(self) -> dict[str, dict]:
        """Return what the model offers: by signature, {"inputs": {name: {"shape", "dtype"}}, "outputs": …}.

        Raises:
            ServerError: the server can't be reached, or has no such model.
        """
        if self._signatures is None:
            self._signatures = self._patiently(self._protocol.signatures)
        return self._signatures

    def predict(self, inputs: Mapping[str, ArrayLike], signature: str = "serving_default") -> dict[str, np.ndarray]:
        """Send arrays by name, and return the outputs by name.

        Raises:
            ServerError: the server refuses them, can't be reached, or stays busy.
        """
        return self._predicted(signature, inputs, parts=False)

    def _predicted(self, signature: str, inputs: Mapping[str, ArrayLike], parts: bool) -> dict[str, np.ndarray]:
        return self._patiently(lambda: self._protocol.predict(signature, inputs), parts)

    def translate(self, files: Sequence[bytes]) -> list[bytes]:
        """Send PNG or JPEG files in one request to the signature "bytes", and return PNG files.

        Each is turned upright by its EXIF data and laid on white where it is transparent, as `kerasgen translate`
        reads it: TensorFlow does neither.

        Raises:
            UserError: one of the files can't be read as a picture.
            ServerError: as `predict`; or the model has no signature "bytes".
        """
        return self._translated(files)

    def _translated(self, files: Sequence[bytes], parts: bool = False) -> list[bytes]:
        channels = self._channels()
        signature = self.signatures()["bytes"]
        (name,), (result,) = signature["inputs"], signature["outputs"]
        turned = np.array([upright(file, channels) for file in files], object)
        return list(self._predicted("bytes", {name: turned}, parts)[result])

    def translate_folder(
        self, input_folder: str | os.PathLike, output_folder: str | os.PathLike, batch: int = 8
    ) -> Translated:
        """Translate every picture below a folder on the server, as `kerasgen translate` does here.

        Args:
            input_folder: pictures of any size; deep ones are sent with 8 bits.
            output_folder: gets PNG files of the same names.
            batch: pictures in one request.

        Raises:
            UserError: as `kerasgen.commands.translate.translate_folder` of its folders.
            ServerError: the server can't be reached, or has no such model.
        """
        if batch < 1:
            raise UserError(f"batch is {batch}: give 1 or more.")
        channels = self._channels()
        found = targets(Path(input_folder), Path(output_folder))
        written: list[Path] = []
        skipped, waiting = list(found.damaged), []
        for picture, target in with_bar(found.pairs):
            file = _as_png(picture.path, channels)
            if file is None:
                skipped.append(picture.path)
            else:
                waiting.append((picture.path, target, file))
            if len(waiting) == batch or picture is found.pairs[-1][0]:
                done, refused = self._translate_batch(waiting)
                written, skipped, waiting = written + done, skipped + refused, []
        if not written:
            raise UserError(
                f"None of the {len(skipped)} pictures in {input_folder} could be translated: see the warnings."
            )
        return Translated(tuple(written), tuple(skipped))

    def _translate_batch(self, waiting: list[tuple[Path, Path, bytes]]) -> tuple[list[Path], list[Path]]:
        """Write what the server makes; if it refuses the batch, each picture goes alone. Returns written, skipped."""
        if not waiting:
            return [], []
        try:
            answers = self._translated([file for _, _, file in waiting], parts=len(waiting) > 1)
        except ServerError as error:
            if not error.refused:
                raise
            if len(waiting) == 1:
                warnings.warn(f"{waiting[0][0]} is skipped: {error}", stacklevel=3)
                return [], [waiting[0][0]]
            parts = [self._translate_batch([item]) for item in waiting]
            return [path for done, _ in parts for path in done], [path for _, left in parts for path in left]
        for (_, target, _), answer in zip(waiting, answers, strict=True):
            with atomic_write(target) as temporary:
                temporary.write_bytes(answer)
        return [target for _, target, _ in waiting], []

    def _channels(self) -> int:
        """Return what the network takes of a picture; raise `ServerError` if it takes no picture files."""
        known = self.signatures()
        inputs = known["serving_default"]["inputs"].values() if "serving_default" in known else ()
        shapes = [info["shape"] for info in inputs]
        if "bytes" not in known or len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] not in (1, 3, 4):
            raise ServerError(
                f"The model at {self._url} doesn't translate picture files (it has {', '.join(sorted(known))}): "
                "give one that was exported with pictures in and out.",
                refused=True,
            )
        return shapes[0][3]

    def _patiently(self, ask: Callable[[], _Answer], parts: bool = False) -> _Answer:
        """Ask until there is an answer; what is too much at once is refused, where its parts can be asked for."""
        wait = _FIRST_WAIT
        for attempt in range(self._tries):
            try:
                return ask()
            except _Busy as busy:
                if parts and isinstance(busy, _TooMuch):
                    raise ServerError(f"{self._url} took no request of this size ({busy}).", refused=True) from busy
                if attempt + 1 == self._tries:
                    raise ServerError(f"{self._url} gave no answer in {self._tries} tries ({busy}).") from busy
                # Clients that were refused together don't come back together.
                time.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, _LONGEST_WAIT)
        raise AssertionError("the last try returns or raises")


def _address(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:  # half an IPv6 address, a port of six digits
        scheme, host, port = "", None, None
    if scheme not in ("http", "grpc") or not host or not port:
        raise UserError(f"The URL {url!r} is unknown: give http://HOST:8501 or grpc://HOST:8500.")
    return scheme, host, port


def _as_png(path: Path, channels: int) -> bytes | None:
    """Return a picture as `kerasgen translate` reads it, as a PNG file; None with a warning."""
    try:
        return as_png(read_picture(path, Fit("natural"), channels))
    except PictureError as error:
        warnings.warn(f"{error} It is skipped.", stacklevel=3)
        return None


@contextmanager
def _understood() -> Iterator[None]:
    """Turn an answer of another shape than TensorFlow Serving's into a sentence."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        said = f"The server's answer is not one of TensorFlow Serving's ({type(error).__name__}: {reason(error)})"
        raise ServerError(f"{said}: is the URL right?") from error


class _Rest:
    """The REST API, over one connection that is kept."""

    def __init__(self, host: str, port: int, model: str, version: int | None, label: str | None, timeout: float):
        which = f"/versions/{version}" if version is not None else f"/labels/{quote(label, '')}" if label else ""
        self._path = f"/v1/models/{quote(model, '')}{which}"
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        self._known: dict[str, dict] | None = None

    def predict(self, signature: str, inputs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        tensors = {name: _to_json(np.asarray(value)) for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": tensors})
        answer = self._ask("POST", f"{self._path}:predict", body)
        outputs = self.signatures()[signature]["outputs"]
        with _understood():
            named = {next(iter(outputs)): answer["outputs"]} if len(outputs) == 1 else answer["outputs"]
            return {name: _from_json(value, outputs[name]["dtype"]) for name, value in named.items()}

    def signatures(self) -> dict[str, dict]:
        if self._known is None:
            answer = self._ask("GET", f"{self._path}/metadata")
            with _understood():
                self._known = {
                    name: {side: {k: _json_tensor(t) for k, t in d[side].items()} for side in ("inputs", "outputs")}
                    for name, d in answer["metadata"]["signature_def"]["signature_def"].items()
                    if not name.startswith("__")
                }
        return self._known

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        try:
            self._connection.request(method, path, body)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            kind = _TooMuch if isinstance(error, TimeoutError) else _Busy
            raise kind(error or type(error).__name__) from error
        if response.status in _TOO_MUCH.values():
            raise _TooMuch(f"HTTP {response.status}: {_error_of(content)}")
        if response.status in _AWAY.values():
            raise _Busy(f"HTTP {response.status}: {_error_of(content)}")
        if response.status != 200:
            raise ServerError(f"The server refused the request: {_error_of(content)}", refused=True)
        with _understood():
            return json.loads(content)


class _Grpc:
    """The gRPC API."""

    def __init__(self, host: str, port: int, model: str, version: int | None, label: str | None, timeout: float):
        require_extra("serving", "A grpc:// URL", "tensorflow_serving", "grpc")
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        sizes = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(f"{host}:{port}", sizes)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model, self._version, self._label, self._timeout = model, version, label, timeout

    def predict(self, signature: str, inputs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._ask(self._stub.Predict, request)
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    def signatures(self) -> dict[str, dict]:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request.model_spec)
        found = get_model_metadata_pb2.SignatureDefMap()
        self._ask(self._stub.GetModelMetadata, request).metadata["signature_def"].Unpack(found)
        return {name: described(d) for name, d in found.signature_def.items() if not name.startswith("__")}

    def close(self) -> None:
        self._channel.close()

    def _name(self, spec: "ModelSpec") -> None:
        spec.name = self._model
        if self._version is not None:
            spec.version.value = self._version
        elif self._label:
            spec.version_label = self._label

    def _ask(self, method: "Callable[..., Message]", request: "Message") -> "Message":
        import grpc

        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code().name in _TOO_MUCH:
                raise _TooMuch(f"{error.code().name}: {error.details()}") from error
            if error.code().name in _AWAY:
                raise _Busy(f"{error.code().name}: {error.details()}") from error
            raise ServerError(f"The server refused the request: {error.details()}", refused=True) from error


def _to_json(value: np.ndarray) -> object:
    if value.dtype.kind not in "OS":
        return value.tolist()
    return [{"b64": base64.b64encode(item).decode()} for item in value.ravel()]


def _from_json(value: object, dtype: str) -> np.ndarray:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([base64.b64decode(item["b64"]) for item in value], object)
    known = dtype in np.sctypeDict  # as NumPy has no text of any length, and no bfloat16
    return np.asarray(value, dtype) if known else np.asarray(value)


def _json_tensor(tensor: dict) -> dict[str, object]:
    sizes = [int(dim["size"]) for dim in tensor["tensor_shape"].get("dim", [])]
    names = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16", "DT_BFLOAT16": "bfloat16"}
    dtype = names.get(tensor["dtype"], tensor["dtype"].removeprefix("DT_").lower())
    return {"shape": [None if size == -1 else size for size in sizes], "dtype": dtype}


def _error_of(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace").strip()
