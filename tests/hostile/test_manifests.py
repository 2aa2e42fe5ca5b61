"""Hostile and damaged manifests, artifacts, models.config and config.json: 72 of them."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import GOLDEN, Attack

RUN = str(GOLDEN / "vae_run")
CONFIG = json.loads((GOLDEN / "vae_run" / "config.json").read_text())
TEXTS = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"3",
    b'"x"',
    b"{",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xff\xfe",
    b" " * 9 * 2**20,
)
MANIFEST = {
    "sha256": "0" * 64,
    "bytes": 5,
    "path": "net.onnx",
    "variant": "float32",
    "format": "onnx",
    "layout": "nhwc",
}


def manifests() -> Iterator[tuple[str, bytes]]:
    for text in TEXTS:
        yield f"text {text[:5]!r}", text
    yield "of another file", json.dumps(MANIFEST).encode()
    for name in MANIFEST:
        yield f"without {name}", json.dumps({k: v for k, v in MANIFEST.items() if k != name}).encode()
        yield f"{name} of another type", json.dumps(MANIFEST | {name: [[]]}).encode()


def complete(**changed: object) -> bytes:
    """The manifest of an artifact that holds b"hello", with something changed in it."""
    tensor = {"shape": [None, 8], "dtype": "float32"}
    of_dicts = {name: {} for name in ("parity", "golden", "versions", "options", "renamed")}
    of_texts = dict.fromkeys(("network", "tolerance", "license"), "x")
    signatures = {"serving_default": {"inputs": {"z": tensor}, "outputs": {"image": tensor}}}
    bound = {"sha256": hashlib.sha256(b"hello").hexdigest(), "bytes": 5}
    rest = {"signatures": signatures, "image": None, "pictures": []}
    return json.dumps({**MANIFEST, **of_dicts, **of_texts, **rest, **bound, **changed}).encode()


def claims() -> Iterator[tuple[str, bytes]]:
    def of(**tensor: object) -> dict[str, object]:
        inputs = {"z": {"shape": [None, 8], "dtype": "float32", **tensor}}
        return {"signatures": {"serving_default": {"inputs": inputs, "outputs": inputs}}}

    yield "true", complete()
    yield "a shape of terabytes", complete(**of(shape=[None, 10**7, 10**7, 3]))
    for shape in ("x", [[]], [-1, -1], [1.5], None):
        yield f"a shape of {shape}", complete(**of(shape=shape))
    for dtype in ("nothing", 3, "O"):
        yield f"a dtype of {dtype}", complete(**of(dtype=dtype))
    for image in (3, [], {}, {"size": "x"}, {"size": [10**9, 1], "value_range": [0, 1], "multiple_of": 0}):
        yield f"an image of {image}", complete(image=image)
    yield "no inputs", complete(signatures={"serving_default": {"inputs": {}, "outputs": {}}})
    yield "no signature", complete(signatures={})
    yield "another variant", complete(variant="int99")
    yield "another layout", complete(layout="sideways")
    yield "pictures of numbers", complete(pictures=[1])


def served() -> Iterator[tuple[str, bytes]]:
    entry = 'model_config_list { config { name: "%s" base_path: "%s" } }'
    yield "text", b"hello"
    yield "not UTF-8", b"\xff\xfe\x00"
    yield "deep", b"model_config_list { config " + b"{ a " * 10_000
    yield "long", b"#" * 9 * 2**20
    yield "unknown field", b"nonsense: 1"
    yield "number of text", b"model_config_list { config { name: 3 } }"
    yield "unended", (entry % ("m", "/models/m"))[:-5].encode()
    yield "version of text", b'model_config_list { config { version_labels { key: "a" value: "b" } } }'
    yield (
        "version too large",
        b'model_config_list { config { version_labels { key: "a" value: 99999999999999999999 } } }',
    )
    yield "JSON", b'{"model_config_list": {}}'


def configurations() -> Iterator[tuple[str, bytes]]:
    for text in TEXTS:
        yield f"text {text[:5]!r}", text
    for name, value in (("data", 3), ("data", {}), ("data", {"source": 3}), ("layout", 99), ("layout", "x")):
        yield f"{name} {value}", json.dumps(CONFIG | {name: value}).encode()
    yield "an unknown source", json.dumps(CONFIG | {"data": CONFIG["data"] | {"source": "nothing"}}).encode()


def attacks() -> list[Attack]:
    def artifact(content: bytes):
        def make(folder: Path) -> None:
            (folder / "net.onnx").write_bytes(b"hello")
            (folder / "net.onnx.manifest.json").write_bytes(content)

        return make

    def base(content: bytes):
        def make(folder: Path) -> None:
            (folder / "models" / "m" / "1").mkdir(parents=True)
            (folder / "models" / "models.config").write_bytes(content)

        return make

    def run(content: bytes):
        def make(folder: Path) -> None:
            (folder / "run").mkdir()
            (folder / "run" / "model.keras").write_bytes((GOLDEN / "vae_run" / "model.keras").read_bytes())
            (folder / "run" / "config.json").write_bytes(content)

        return make

    def pipe(folder: Path) -> None:
        (folder / "net.onnx").write_bytes(b"hello")
        os.mkfifo(folder / "net.onnx.manifest.json")

    verify = ("verify", "{}/net.onnx", "--against", RUN)
    listed = ("serving", "list", "{}/models")
    generate = ("generate", "{}/run", "--sampler", "class_gaussian", "--output", "{}/out", "--n", "2")
    found = [Attack(f"manifest: {name}", verify, make=artifact(content)) for name, content in manifests()]
    found += [Attack("manifest: pipe", verify, make=pipe)]
    for number, (name, content) in enumerate(claims()):
        command = verify if number % 2 else ("benchmark", "{}/net.onnx")
        found.append(Attack(f"manifest: {name}", command, make=artifact(content)))
    found += [Attack(f"models.config: {name}", listed, make=base(content)) for name, content in served()]
    return found + [Attack(f"config.json: {name}", generate, make=run(content)) for name, content in configurations()]


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    tried = attacks()
    assert len(tried) >= 40
    faults = judged(tried)
    assert not faults, "\n".join(faults)
