"""The page at `/`: what is served, tried in a browser. It asks the REST API as any client does."""

import json
from typing import TYPE_CHECKING

from kerasgen.export.page import PAGE, kind_of, page_entry, static_file, static_files
from kerasgen.export.serving import described

from .models import Models
from .refusal import Refusal
from .service import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

_INDEX = "index.html"
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


def page_file(models: Models, path: str) -> tuple[bytes, str] | None:
    """Return a file of the page and its media type; None if a path is not one of the page's.

    Args:
        models: that are served.
        path: of a request, such as "/" or "/page.json".
    """
    name = path.removeprefix("/") or _INDEX
    if name == PAGE:
        return json.dumps(_content(models)).encode(), "application/json"
    if name in static_files():
        return static_file(name), _TYPES[name.rpartition(".")[2]]
    return None


def _content(models: Models) -> dict[str, object]:
    networks, facts = [], {}
    for name in models.names():
        try:
            with models.use(name) as version:
                facts[name] = f"version {version.number}"
                entry = _entry(name, version.signatures.get(DEFAULT_SIGNATURE))
        except Refusal:  # it was unloaded in between
            continue
        networks += [entry] if entry else []
    few = "" if networks else " None makes pictures of one picture or of a latent z, which this page could show."
    description = f"What is served here, asked through REST.{few}"
    return {"title": "kerasgen serve", "description": description, "facts": facts, "networks": networks}


def _entry(name: str, definition: "SignatureDef | None") -> dict[str, object] | None:
    if definition is None:
        return None
    sides = described(definition)
    kind = kind_of(sides["inputs"], sides["outputs"])
    if kind is None:
        return None
    types = {tensor: info["dtype"] for tensor, info in sides["inputs"].items()}
    return page_entry(name, kind, sides["inputs"], {"rest": {"path": f"v1/models/{name}:predict", "inputs": types}})
