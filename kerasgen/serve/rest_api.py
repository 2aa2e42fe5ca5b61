"""TensorFlow Serving's REST API: predict in rows and columns, metadata and status, as an ASGI application.

At `/` stands a page that tries the models in a browser.
"""

import asyncio
import gc
import json
import logging
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kerasgen.errors import reason

from . import answers, json_text, requests
from .batching import Arrays, Task
from .grpc_api import metadata, status
from .page import page_file
from .refusal import Refusal, invalid, too_late
from .service import Asked, Service
from .version import LoadedVersion

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>/metadata|:predict)?"
)
_PARSED = 24  # bytes that Python's objects take for one of JSON's text, at worst
_LARGE = 2**22  # bytes of JSON
_GZIP = ("gzip", "x-gzip")  # HTTP's two names of it
_MEMBER = 31  # zlib's number for one member of gzip
_MOST_MEMBERS = 2**14  # bgzip makes one of each 64 KiB; a million would keep the event loop for seconds
_READERS = 4  # threads that read bodies and write answers


class RestApi:
    """The application.

    Status and metadata are answered on the event loop itself, predictions in threads of their own, so that one never
    waits for the other. A prediction whose client hangs up, or whose time is over, is canceled.

    Args:
        service: whose models are asked.
    """

    def __init__(self, service: Service):
        self._service = service
        self._readers = ThreadPoolExecutor(_READERS, "rest")
        self._large = threading.Lock()
        self._bodies = 0  # bytes that have arrived and are still held

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(cancel_futures=True)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        from starlette.requests import Request

        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = _json({"error": refusal.message}, refusal.http)
        except Exception as error:
            logging.getLogger(__name__).exception("A request failed by the server's own fault")
            response = _json({"error": f"The server failed ({reason(error)}): see what it printed."}, 500)
        if response is not None:
            await response(scope, receive, send)

    async def _answer(self, request: "Request") -> "Response | None":
        _check_origin(request.headers)
        if request.method == "GET" and (file := page_file(self._service.models, request.scope["path"])):
            return _file(*file)
        asked, verb = _asked(request.scope["path"], request.method)
        if verb != ":predict":
            return _json(_described(self._service, asked, verb))
        return await self._prediction(request, asked)

    async def _prediction(self, request: "Request", asked: Asked) -> "Response | None":
        """Predict; None if the client is gone."""
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        deadline, gone = self._service.deadline(), threading.Event()
        body = _Body(self._service.limits.bytes, request.headers.get("content-encoding", "identity"))
        try:
            content = await self._received(request, body, deadline)
            work = asyncio.create_task(self._predict(asked, content, deadline, gone))
            hung_up = asyncio.create_task(_hung_up(request))
            try:
                left = deadline - time.monotonic()
                await asyncio.wait({work, hung_up}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return Response(work.result(), media_type="application/json")
                if hung_up.done():
                    return None
                raise too_late()
            finally:
                gone.set()
                work.cancel()
                hung_up.cancel()
        except ClientDisconnect:
            return None
        finally:
            self._bodies -= body.taken

    async def _received(self, request: "Request", body: "_Body", deadline: float) -> bytes:
        """Return the body, of which no more is held than is taken."""
        limits, parts = self._service.limits, request.stream()
        while True:
            left = min(limits.head_seconds, deadline - time.monotonic())
            try:
                async with asyncio.timeout(left):
                    part = await anext(parts, None)
            except TimeoutError:
                raise Refusal("ABORTED", "The body didn't arrive in time.") from None
            if part is None:
                return body.content()
            before = body.taken
            body.add(part)
            self._bodies += body.taken - before
            if self._bodies > 4 * limits.bytes:
                raise Refusal("UNAVAILABLE", "Other requests are as large as can be held: ask again in a moment.")

    async def _predict(self, asked: Asked, content: bytes, deadline: float, gone: threading.Event) -> bytes:
        service, loop = self._service, asyncio.get_running_loop()
        with service.models.use(asked.model, asked.version, asked.label) as version:
            task, rows = await loop.run_in_executor(
                self._readers, _read, service, self._large, version, content, deadline, gone.is_set
            )
            version.submit(task)
            outputs = await asyncio.wrap_future(task.answer)
        answers.check_size(outputs, 4 * service.limits.bytes)
        return await loop.run_in_executor(self._readers, _written, outputs, rows, deadline, gone.is_set)


class _Body:
    """A body that arrives, of bounded size, unpacked if it is packed."""

    def __init__(self, most: int, encoding: str):
        self._most, self._arrived, self._members = most, 0, 1
        # In one piece: of many small ones, each would take more than its bytes.
        self._content = bytearray()
        coding = encoding.strip().lower()
        if coding not in (*_GZIP, "identity", ""):
            raise invalid(f"The body's Content-Encoding is {encoding!r}, but gzip or none is taken.")
        self._unpack = zlib.decompressobj(_MEMBER) if coding in _GZIP else None

    @property
    def taken(self) -> int:
        """How many bytes it holds."""
        return len(self._content)

    def add(self, part: bytes) -> None:
        """Take what has arrived.

        Raises:
            Refusal: it is too much, or is not gzip as its head says.
        """
        # What unpacks to nothing is work too.
        self._arrived += len(part)
        self._check(self._arrived)
        try:
            for piece in self._unpacked(part):
                self._check(self.taken + len(piece))
                self._content += piece
        except zlib.error:
            raise invalid("The body is not gzip, as its Content-Encoding says, or is damaged.") from None

    def _unpacked(self, part: bytes) -> Iterator[bytes]:
        """Yield what a part holds. Behind a member of gzip may come zeros and further members, as in joined files."""
        if self._unpack is None:
            yield part
            return
        while part := part.lstrip(b"\0") if self._unpack.eof else part:
            if self._unpack.eof:
                self._members += 1
                if self._members > _MOST_MEMBERS:
                    raise invalid(f"The body has more than {_MOST_MEMBERS:,} members of gzip: pack it as one.")
                self._unpack = zlib.decompressobj(_MEMBER)
            yield self._unpack.decompress(part, self._most - self.taken + 1)
            part = self._unpack.unused_data

    def _check(self, size: int) -> None:
        if size > self._most:
            raise invalid(f"The body has more than {self._most / 2**20:.0f} MiB: send fewer examples at a time.")

    def content(self) -> bytes:
        """Return all of it.

        Raises:
            Refusal: the packed body ends too early.
        """
        if self._unpack and not self._unpack.eof:
            raise invalid("The gzip body ends too early.")
        return bytes(self._content)


async def _hung_up(request: "Request") -> None:
    """Return once the client is gone: after the body nothing else comes."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_origin(headers: Mapping[str, str]) -> None:
    """Raise `Refusal` if a page of another site asks: by a name of its own for this machine, or across origins."""
    host, origin = headers.get("host"), headers.get("origin")
    if host is not None and not _is_here(f"//{host}"):
        raise Refusal("PERMISSION_DENIED", f"The host {host!r} is not this machine: ask 127.0.0.1.")
    if origin is not None and not _is_here(origin):
        raise Refusal("PERMISSION_DENIED", f"A page of {origin!r} asks, but only pages of this machine may.")
    if origin is None and headers.get("sec-fetch-site") == "cross-site":
        raise Refusal("PERMISSION_DENIED", "A page of another site asks, but only pages of this machine may.")


def _is_here(url: str) -> bool:
    try:
        return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def _asked(path: str, method: str) -> tuple[Asked, str | None]:
    match = _PATH.fullmatch(path)
    if match is None:
        raise Refusal(
            "NOT_FOUND", f"There is nothing at {path}: /v1/models/NAME is where a model is, and / a page to try it."
        )
    verb, needed = match["verb"], "POST" if match["verb"] == ":predict" else "GET"
    if method != needed:
        raise invalid(f"{path} is asked with {needed}, not with {method}.")
    # Version 0 is what some clients (ovmsclient) send for "any".
    return Asked(match["model"], int(match["version"] or 0) or None, match["label"]), verb


def _read(
    service: Service,
    large: threading.Lock,
    version: LoadedVersion,
    content: bytes,
    deadline: float,
    is_gone: Callable[[], bool],
) -> tuple[Task, bool]:
    """Return the task of a body, and whether it is in rows."""

    def check() -> None:
        if is_gone() or time.monotonic() > deadline:
            raise too_late()

    with service.memory.taken(_PARSED * len(content), deadline), _uncollected(large, content):
        return _parsed(service, version, content, deadline, check)


def _parsed(
    service: Service, version: LoadedVersion, content: bytes, deadline: float, check: Callable[[], None]
) -> tuple[Task, bool]:
    try:
        body = json_text.loads(content, check)
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON.") from None
    signature = body.get("signature_name", "") if isinstance(body, dict) else ""
    if not isinstance(signature, str):
        raise invalid('"signature_name" must be a string.')
    rows = False

    def read(definition: "SignatureDef") -> Arrays:
        nonlocal rows
        inputs, rows = requests.from_json(definition, body, service.limits.pixels, check)
        return inputs

    return service.task(version, signature, read, deadline), rows


@contextmanager
def _uncollected(large: threading.Lock, content: bytes) -> Iterator[None]:
    """Keep Python's garbage collector from a large body, whose millions of lists it would search again and again.

    One at a time: the collector is the whole process's.
    """
    if len(content) < _LARGE or not gc.isenabled():
        yield
        return
    with large:
        gc.disable()
        try:
            yield
        finally:
            gc.enable()


def _written(outputs: Arrays, rows: bool, deadline: float, is_gone: Callable[[], bool]) -> bytes:
    text = bytearray()
    for piece in answers.pieces(outputs, rows):
        if is_gone() or time.monotonic() > deadline:
            raise too_late()
        text += piece.encode()
    return bytes(text)


def _described(service: Service, asked: Asked, verb: str | None) -> dict[str, object]:
    from google.protobuf import json_format

    if verb is None:
        return json_format.MessageToDict(
            status(service, asked), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    response = metadata(service, asked)
    found = json_format.MessageToDict(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    del found["metadata"]["signature_def"]["@type"]
    return found


def _json(content: dict[str, object], code: int = 200) -> "Response":
    from starlette.responses import Response

    return Response(json.dumps(content, indent=1) + "\n", code, media_type="application/json")


def _file(content: bytes, media_type: str) -> "Response":
    from starlette.responses import Response

    # What is served changes under the same names, and no other page may show this one.
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}
    return Response(content, media_type=media_type, headers=headers)
