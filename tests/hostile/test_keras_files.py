"""Hostile and damaged .keras and .h5 files: 76 of them, from one good file."""

import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from .conftest import GOLDEN, Attack

GOOD = (GOLDEN / "vae_run" / "model.keras").read_bytes()
FILE = "model.keras"
CODE = "4wEAAAAAAAAAAAAAAAIAAAABAAAAUwAAAKkAqQDzAAAAAA=="


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()


def with_config(text: str | bytes) -> bytes:
    return zipped(members() | {"config.json": text if isinstance(text, bytes) else text.encode()})


def with_argument(**changed: object) -> bytes:
    config = json.loads(members()["config.json"])
    config["config"] |= changed
    return with_config(json.dumps(config))


def with_weights(change: Callable[[h5py.File], object]) -> bytes:
    stream = io.BytesIO(members()["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        change(file)
    return zipped(members() | {"model.weights.h5": stream.getvalue()})


def largest(file: h5py.File) -> h5py.Dataset:
    """Return the largest of the network's own, not of its optimizer's."""
    found = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return max((d for d in found if "optimizer" not in d.name), key=lambda d: d.size)


def filled(value: float) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        largest(file)[...] = value

    return change


def replaced(make: Callable[[h5py.Group, str], object]) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        found = largest(file)
        group, name = found.parent, found.name.rsplit("/", 1)[1]
        del group[name]
        make(group, name)

    return change


def huge(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, shape=(10**6, 10**5), dtype="float32", chunks=(1000, 1000))  # 400 GB, none stored


def virtual(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(4,))
    group.create_virtual_dataset(name, layout)


def held_twice(file: h5py.File) -> None:
    """Sixty groups, each of which holds the next one under two names: 2⁶⁰ paths."""
    group = file
    for _ in range(60):
        group["also"] = group.create_group("next")
        group = group["next"]


def named_often(file: h5py.File) -> None:
    """Four megabytes of zeros, which pack well, under 4,000 names: sixteen gigabytes."""
    zeros = file.create_dataset("zeros", data=np.zeros(2**20, np.float32), compression="gzip", chunks=(2**20,))
    for i in range(4000):
        file[f"also{i}"] = zeros


def flipped(seed: int) -> bytes:
    content = bytearray(GOOD)
    content[random.Random(seed).randrange(len(content))] ^= 0xFF
    return bytes(content)


def function_layer(code: str, **more: object) -> bytes:
    inputs = {"class_name": "InputLayer", "config": {"batch_shape": [None, 2], "name": "i"}, "name": "i"}
    layer = {"module": "keras.layers", "class_name": "Lambda", "name": "l"}
    layer["config"] = {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": code}}}
    config = {"name": "s", "layers": [inputs | {"module": "keras.layers"}, layer]}
    return with_config(json.dumps({"module": "keras", "class_name": "Sequential", "config": config, **more}))


def dense(units: int, shape: tuple) -> bytes:
    inputs = {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape], "name": "i"}}
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": units}}
    config = {"name": "s", "layers": [inputs | {"module": "keras.layers"}, layer]}
    config = {"module": "keras", "class_name": "Sequential", "config": config, "build_config": {"input_shape": shape}}
    return with_config(json.dumps(config))


def legacy(**attributes: object) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = value
    return stream.getvalue()


def contents() -> Iterator[tuple[str, bytes]]:
    for seed in range(10):
        yield f"flipped {seed}", flipped(seed)
    for part in (1, 2, 4, 8, 16, 32, 64, 128):
        yield f"cut {part}", GOOD[: len(GOOD) * (part - 1) // part]
    yield "text", b"hello"
    yield "pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."
    yield "zeros", bytes(10_000)
    yield "no members", zipped({})
    yield "no config", zipped({k: v for k, v in members().items() if k != "config.json"})
    yield "no weights", zipped({k: v for k, v in members().items() if "weights" not in k})
    for text in ("", "null", "[]", "{}", "3", '"x"', '{"class_name": 3}', "[" * 100_000, '{"a":' * 50_000):
        yield f"config {text[:10]}", with_config(text)
    yield "config not UTF-8", with_config(b"\xff\xfe{}")
    yield "config of 9 MiB", with_config(json.dumps({"x": "y" * 9 * 2**20}))
    for module, name in (
        ("os", "system"),
        ("builtins", "eval"),
        ("kerasgen", "Nothing"),
        ("keras.layers", "Nothing"),
    ):
        config = {"module": module, "class_name": name, "config": {"command": "touch {}/foreign/made"}}
        yield f"class {module}.{name}", with_config(json.dumps(config))
    yield "code beside an unknown loss", function_layer(CODE, compile_config={"loss": "nothing"})
    yield "code", function_layer(CODE)
    for name, value in (
        ("latent_dim", 10**9),
        ("latent_dim", 0),
        ("latent_dim", "x"),
        ("latent_dim", None),
        ("image_shape", [2**20, 2**20, 3]),
        ("image_shape", []),
        ("filters", [10**8, 10**8]),
        ("filters", []),
        ("hidden_units", 10**9),
        ("beta", float("nan")),
        ("nonsense", 1),
    ):
        yield f"{name} {value}", with_argument(**{name: value})
    yield "wide", dense(10**9, (1000,))
    yield "weights of text", zipped(members() | {"model.weights.h5": b"hello"})
    yield "weights cut", zipped(members() | {"model.weights.h5": members()["model.weights.h5"][:5000]})
    yield "weights NaN", with_weights(filled(np.nan))
    yield "weights infinite", with_weights(filled(np.inf))
    yield "weights huge", with_weights(replaced(huge))
    yield "weights virtual", with_weights(replaced(virtual))
    yield (
        "weights elsewhere",
        with_weights(replaced(lambda g, n: g.__setitem__(n, h5py.ExternalLink("/etc/x", "/y")))),
    )
    yield "weights nowhere", with_weights(replaced(lambda g, n: g.__setitem__(n, h5py.SoftLink("/nowhere"))))
    yield "weights twice", with_weights(held_twice)
    yield "weights under many names", with_weights(named_often)
    yield "weights small", with_weights(replaced(lambda g, n: g.create_dataset(n, data=np.zeros(3))))
    yield "weights of words", with_weights(replaced(lambda g, n: g.create_dataset(n, data=[b"a", b"b"])))
    bomb = members() | {"assets/x": bytes(400 * 2**20)}
    yield "bomb", zipped(bomb, zipfile.ZIP_DEFLATED)
    bomb = members() | {"model.weights.h5": bytes(400 * 2**20)}
    yield "bomb of weights", zipped(bomb, zipfile.ZIP_DEFLATED)
    yield "outside", zipped(members() | {"../../foreign/.tmp-mine": b"x", "/tmp/kerasgen-hostile": b"x"})


def attacks() -> list[Attack]:
    def written(name: str, content: bytes) -> Callable[[Path], object]:
        return lambda folder: (folder / name).write_bytes(content)

    argv = ("generate", f"{{}}/{FILE}", "--output", "{}/out", "--n", "2")
    # What a flipped bit hits may be of no use; members with other names are never read.
    found = [
        Attack(name, argv, make=written(FILE, content), harmless=name.startswith(("flipped", "outside")))
        for name, content in contents()
    ]
    found.append(Attack("pipe", argv, make=lambda folder: os.mkfifo(folder / FILE)))
    found.append(Attack("device", argv, make=lambda folder: (folder / FILE).symlink_to("/dev/zero")))
    found.append(Attack("folder", argv, make=lambda folder: (folder / FILE).mkdir()))
    layer = {"class_name": "Lambda", "config": {"name": "l", "function": [CODE, None, None], "input_shape": [2]}}
    code = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}})
    for name, content in (
        ("h5 of text", b"hello"),
        ("h5 cut", b"\x89HDF\r\n\x1a\n" + bytes(100)),
        ("h5 without a model", legacy()),
        ("h5 deep", legacy(model_config="[" * 10_000)),
        ("h5 code", legacy(model_config=code, training_config='{"loss": "nothing"}')),
        ("h5 nothing", legacy(model_config="{}", keras_version="2.0")),
    ):
        h5 = ("export", "{}/model.h5", "--output", "{}/out")
        found.append(Attack(name, h5, make=written("model.h5", content)))
    return found


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    tried = attacks()
    assert len(tried) >= 60
    faults = judged(tried)
    assert not faults, "\n".join(faults)
    assert not Path("/tmp/kerasgen-hostile").exists()
