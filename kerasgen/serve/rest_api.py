"""TensorFlow Serving's REST API: predict in rows and columns, metadata and status, on starlette."""

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

from . import requests
from .grpc_api import metadata, status
from .refusal import Refusal, invalid
from .service import Asked, Service

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>/metadata|:predict)?"
)


def application(service: Service) -> "Starlette":
    """Return the application; it holds nothing but the service."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Route

    async def answer(request: "Request") -> "Response":
        try:
            asked, verb = _asked(request)
            if verb == ":predict":
                return _json(await run_in_threadpool(_predict, service, asked, await _body(request, service)))
            return _json(await run_in_threadpool(_described, service, asked, verb))
        except Refusal as refusal:
            return _json({"error": refusal.message}, refusal.http)

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


def _asked(request: "Request") -> tuple[Asked, str | None]:
    match = _PATH.fullmatch(request.url.path)
    if match is None:
        raise Refusal("NOT_FOUND", f"There is nothing at {request.url.path}: /v1/models/NAME is where a model is.")
    verb, needed = match["verb"], "POST" if match["verb"] == ":predict" else "GET"
    if request.method != needed:
        raise invalid(f"{request.url.path} is asked with {needed}, not with {request.method}.")
    # Version 0 is what some clients (ovmsclient) send for "any".
    return Asked(match["model"], int(match["version"] or 0) or None, match["label"]), verb


async def _body(request: "Request", service: Service) -> bytes:
    """Return the body, of which no more is read than is taken."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(service.limits.seconds):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > service.limits.bytes:
                    most = f"{service.limits.bytes / 2**20:.0f} MiB"
                    raise invalid(f"The body has more than {most}: send fewer examples at a time.")
    except TimeoutError:
        raise Refusal("DEADLINE_EXCEEDED", "The body didn't arrive in time.") from None
    return b"".join(parts)


def _predict(service: Service, asked: Asked, content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise invalid("The body is no JSON.") from None
    signature = body.get("signature_name", "") if isinstance(body, dict) else ""
    if not isinstance(signature, str):
        raise invalid('"signature_name" must be a string.')
    rows = False

    def read(definition: Any) -> requests.Arrays:
        nonlocal rows
        inputs, rows = requests.from_json(definition, body, service.limits.pixels)
        return inputs

    _, _, outputs = service.predict(asked, signature, read)
    return requests.to_json(outputs, rows)


def _described(service: Service, asked: Asked, verb: str | None) -> dict[str, Any]:
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


def _json(content: dict[str, Any], code: int = 200) -> "Response":
    from starlette.responses import Response

    # As TensorFlow Serving does: NaN and Infinity stay words.
    return Response(json.dumps(content, indent=1) + "\n", code, media_type="application/json")
