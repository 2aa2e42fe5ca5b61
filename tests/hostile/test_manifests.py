"""Hostile and damaged manifests, artifacts, models.config and config.json: 62 of them."""

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
    found += [Attack(f"models.config: {name}", listed, make=base(content)) for name, content in served()]
    return found + [Attack(f"config.json: {name}", generate, make=run(content)) for name, content in configurations()]


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    tried = attacks()
    assert len(tried) >= 40
    faults = judged(tried)
    assert not faults, "\n".join(faults)
