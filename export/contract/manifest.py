"""The manifest beside an artifact: what it says, and that it is said of these bytes.

What a client must know stands inside the artifact too, so the SHA-256 binds it. An artifact and its manifest are two
names, which no file system renames at once; so the new manifest comes first and holds the old one, and the artifact's
bytes decide which of the two is meant.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from kerasgen.errors import UserError
from kerasgen.files import atomic_write
from kerasgen.untrusted import checked, parse_json, read_text

_REPLACES = "replaces"
_SCHEMA: dict[str, object] = {
    "path": str,
    "format": str,
    "variant": str,
    "sha256": str,
    "bytes": int,
    "signatures": {"serving_default": {"inputs": dict, "outputs": dict}},
    "image": (None, {"size": [(None, int)], "value_range": [float], "multiple_of": int}),
    "parity": dict,
    "network": str,
    "layout": str,
    "pictures": [str],
    "tolerance": str,
    "golden": dict,
    "license": str,
    "versions": dict,
    "options": dict,
    "renamed": dict,
}
_TENSOR = {"shape": [(None, int)], "dtype": str}
_DTYPES = ("uint8", "bool", "int32", "int64", "float16", "float32", "float64", "bfloat16", "string")


def manifest_path(path: Path) -> Path:
    """Return where an artifact's manifest stands: beside it."""
    return path.with_name(path.name + ".manifest.json")


def digest_of(path: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size in bytes of a file, or of a folder.

    A folder's is that of its entries in the order of their names: "file", "folder" or "link", the name, the length
    and the content (a link's is where it points; it isn't followed), the first three each with a zero byte behind.
    """
    if not path.is_dir():
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size
    digest, size = hashlib.sha256(), 0
    for entry in sorted(path.rglob("*")):
        if entry.is_symlink():
            kind, content = "link", os.fsencode(os.readlink(entry))
        elif entry.is_dir():
            kind, content = "folder", b""
        else:
            kind, content = "file", entry.read_bytes()
            size += len(content)
        digest.update(
            f"{kind}\0{entry.relative_to(path).as_posix()}\0{len(content)}\0".encode(errors="surrogateescape")
        )
        digest.update(content)
    return digest.hexdigest(), size


def announce_manifest(path: Path, content: Mapping[str, object]) -> None:
    """Write the manifest of an artifact that is about to replace what stands at `path`."""
    try:
        old: object = read_manifest(path)
    except UserError:
        old = None
    _write(path, {**content, _REPLACES: old})


def settle_manifest(path: Path, content: Mapping[str, object]) -> None:
    """Write the manifest of the artifact that now stands at `path`."""
    _write(path, content)


def _write(path: Path, content: Mapping[str, object]) -> None:
    with atomic_write(manifest_path(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_manifest(path: Path) -> dict:
    """Return the manifest of an artifact, after a look whether it is this artifact's.

    Raises:
        UserError: it is missing, or the artifact's bytes are not those that it was written for.
    """
    file = manifest_path(path)
    try:
        manifest = parse_json(read_text(file, "a manifest", "export the model again"))
    except ValueError as error:
        raise UserError(f"{file} is missing or damaged: export the model again.") from error
    replaced = manifest.pop(_REPLACES, None) if isinstance(manifest, dict) else None
    said = [cast("dict", m) for m in (manifest, replaced) if _complete(m)]
    if not said:
        raise UserError(f"{file} is missing or damaged: export the model again.")
    if not path.exists():
        raise UserError(f"{path} doesn't exist: export the model again.")
    digest, size = digest_of(path)
    for one in said:
        if (one["sha256"], one["bytes"], one["path"]) == (digest, size, path.name):
            return one
    raise UserError(f"{path} is not the artifact that its manifest was written for: export the model again.")


def _complete(manifest: object) -> bool:
    """Tell whether a manifest has all that is read of it, each of its type."""
    try:
        checked(manifest, _SCHEMA)
        tensors = cast("dict", manifest)["signatures"]["serving_default"]["inputs"].values()
        for tensor in tensors:
            checked(tensor, _TENSOR)
    except UserError:
        return False
    sizes = [size for tensor in tensors for size in tensor["shape"] if size is not None]
    known = all(tensor["dtype"] in _DTYPES for tensor in tensors)
    return bool(tensors) and known and all(size > 0 for size in sizes)
