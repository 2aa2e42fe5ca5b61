"""Hostile and damaged .pth files: 51 of them."""

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from .conftest import Attack

torch = pytest.importorskip("torch")


class Evil:
    """What runs a command where pickles are trusted."""

    def __reduce__(self):
        return (os.system, ("touch /tmp/kerasgen-hostile-pickle",))


class Reduced:
    """What is rebuilt as its arguments say."""

    def __init__(self, *arguments: object):
        self._arguments = arguments

    def __reduce__(self):
        return self._arguments


def pointers() -> Reduced:
    """An array of objects that says of itself that it holds plain bytes: NumPy takes these for addresses."""
    fields = {"a": (np.dtype("O"), 0)}
    dtype = Reduced(np.dtype, ("V8", False, True), (3, "|", None, ("a",), fields, 8, 1, 0))
    return Reduced(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), dtype, False, b"A" * 8))


def good() -> dict:
    """A PatchGAN's weights, as pytorch-CycleGAN-and-pix2pix names them."""
    torch.manual_seed(0)
    shapes = {"model.0": (8, 3, 4, 4), "model.2": (16, 8, 4, 4), "model.5": (32, 16, 4, 4), "model.8": (1, 32, 4, 4)}
    weights = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    return weights | {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}


def saved(content: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def rezipped(change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(good()))) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return stream.getvalue()


def flipped(seed: int) -> bytes:
    content = bytearray(saved(good()))
    content[random.Random(seed).randrange(len(content) // 2)] ^= 0xFF
    return bytes(content)


def contents() -> Iterator[tuple[str, bytes]]:
    whole, first = saved(good()), next(iter(good()))
    for seed in range(6):
        yield f"flipped {seed}", flipped(seed)
    for part in (1, 2, 4, 16, 64):
        yield f"cut {part}", whole[: len(whole) * (part - 1) // part]
    yield "text", b"hello"
    yield "zip of nothing", b"PK\x05\x06" + bytes(18)
    yield "pickle that runs code", pickle.dumps(Evil())
    yield "checkpoint that runs code", saved({first: Evil()})
    yield "array of addresses", saved(good() | {first: pointers()})
    yield "old checkpoint that runs code", saved({first: Evil()}, _use_new_zipfile_serialization=False)
    yield "old checkpoint cut", saved(good(), _use_new_zipfile_serialization=False)[:3000]
    for content in ([], {}, 3, "x", None, {"a": 1}, {1: torch.zeros(1)}, {"a": {"b": torch.zeros(1)}}):
        yield f"holds {content!r}"[:40], saved(content)
    for name, tensor in {
        "sparse": torch.eye(4).to_sparse(),
        "meta": torch.empty(8, 3, 4, 4, device="meta"),
        "complex": torch.zeros(8, 3, 4, 4, dtype=torch.complex64),
        "NaN": torch.full((8, 3, 4, 4), float("nan")),
        "infinite": torch.full((8, 3, 4, 4), float("inf")),
        "expanded": torch.zeros(1).expand(10**11),
        "expanded weight": torch.zeros(1).expand(10**5, 10**4, 10, 10),
        "empty": torch.zeros(0, 3, 4, 4),
        "flat": torch.zeros(3),
        "words": "weights",
    }.items():
        yield f"tensor {name}", saved(good() | {first: tensor})
    eight = torch.zeros(2, 2**22, dtype=torch.uint8)
    yield "bytes shared by many", saved({f"k{i}": eight.view(2, -1) for i in range(1000)})
    yield "key of 20 MB", saved({"k" * 20_000_000: torch.zeros(1)})
    yield "key with escapes", saved({"\x1b[31m\n\r": torch.zeros(1)})
    yield "keys unknown", saved({f"k{i}": torch.zeros(1) for i in range(1000)})
    yield "missing", saved({k: v for k, v in good().items() if k != "model.5.weight"})
    yield "of two kinds", saved(good() | {"net.0.weight": torch.zeros(1)})
    yield "many blocks", saved({f"model.{10 + i}.conv_block.1.weight": torch.zeros(1) for i in range(500)})
    yield "blocks without end", saved({f"model.{10 + i}.conv_block.1.weight": torch.zeros(1) for i in range(30_000)})
    yield "data cut", rezipped(lambda name, content: content[:100] if name.endswith("data/0") else content)
    yield (
        "bomb",
        rezipped(
            lambda name, content: bytes(400 * 2**20) if name.endswith("data/0") else content, zipfile.ZIP_DEFLATED
        ),
    )
    yield (
        "bomb of structure",
        rezipped(
            lambda name, content: bytes(100 * 2**20) if name.endswith("data.pkl") else content, zipfile.ZIP_DEFLATED
        ),
    )
    yield "structure of text", rezipped(lambda name, content: b"hello" if name.endswith("data.pkl") else content)
    yield "structure deep", rezipped(lambda name, content: b"(" * 10**6 if name.endswith("data.pkl") else content)


def attacks() -> list[Attack]:
    def written(content: bytes) -> Callable[[Path], object]:
        return lambda folder: (folder / "net.pth").write_bytes(content)

    argv = ("import-torch", "{}/net.pth", "--output", "{}/net.keras")
    found = [
        Attack(name, argv, make=written(content), harmless=name.startswith("flipped")) for name, content in contents()
    ]
    found.append(Attack("pipe", argv, make=lambda folder: os.mkfifo(folder / "net.pth")))
    found.append(Attack("folder", argv, make=lambda folder: (folder / "net.pth").mkdir()))
    return found


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    tried = attacks()
    assert len(tried) >= 40
    faults = judged(tried)
    assert not faults, "\n".join(faults)
    assert not Path("/tmp/kerasgen-hostile-pickle").exists()


def test_the_good_one_is_read(tmp_path):
    from kerasgen.commands.torch_import import import_torch

    (tmp_path / "net.pth").write_bytes(saved(good()))
    assert "PatchGAN" in import_torch(tmp_path / "net.pth").description
