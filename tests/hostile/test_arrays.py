"""Hostile and damaged .npz files, samplers and checkpoints: 72 of them."""

import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from .conftest import GOLDEN, Attack

SAMPLERS = sorted((GOLDEN / "samplers").iterdir())
CHECKPOINT = next((GOLDEN / "vae_run" / "checkpoints").iterdir())
RESTORE = f"""
from kerasgen.runs import RunFolder
from kerasgen.training.checkpoints import Checkpoints
run = RunFolder({str(GOLDEN / "vae_run")!r})
Checkpoints("{{}}/checkpoints", run.config()["steps_per_epoch"]).restore(run.model())
"""
LOAD = """
from kerasgen.samplers import load_sampler
load_sampler("{}/sampler.npz")
"""


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def packed(content: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **content)
    return stream.getvalue()


def with_header(path: Path, **changed: object) -> bytes:
    content = arrays(path)
    header = json.loads(str(content["header"])) | changed
    return packed(content | {"header": np.array(json.dumps(header))})


def changed(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> bytes:
    content = arrays(path)
    change(content)
    return packed(content)


def largest(content: dict[str, np.ndarray]) -> str:
    return max((n for n in content if content[n].dtype.kind == "f"), key=lambda n: content[n].size)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


def any_file(path: Path, seed: int) -> Iterator[tuple[str, bytes]]:
    """What is wrong with a file whatever it should be."""
    whole, content = path.read_bytes(), arrays(path)
    name = largest(content)
    flipped = bytearray(whole)
    flipped[random.Random(seed).randrange(len(whole))] ^= 0xFF
    yield "flipped", bytes(flipped)
    yield "cut", whole[: len(whole) // 2]
    yield "empty", b""
    yield "empty archive", zipped({})
    yield "text", b"hello"
    yield "one array", whole[:0] + npy("'<f4'", "(2,)", bytes(8))
    for text in ("{}", "[]", "null", "", "[" * 100_000):
        yield f"header {text[:5]}", packed(content | {"header": np.array(text)})
    yield "header of numbers", packed(content | {"header": np.zeros(3)})
    yield "no header", packed({n: v for n, v in content.items() if n != "header"})
    yield "NaN", packed(content | {name: np.full_like(content[name], np.nan)})
    members = {f"{n}.npy": npy("'<f4'", "(1,)", bytes(4)) for n in content}
    header = {"header.npy": zipfile.ZipFile(io.BytesIO(whole)).read("header.npy")}
    yield "huge array", zipped(members | header | {f"{name}.npy": npy("'<f4'", "(1000000, 100000)")})
    yield "negative array", zipped(members | header | {f"{name}.npy": npy("'<f4'", "(-1,)")})
    yield "array of objects", zipped(members | header | {f"{name}.npy": npy("'|O'", "(1,)", b"cos\nsystem\n.")})
    yield "array without bytes", zipped(members | header | {f"{name}.npy": npy("'<U0'", "(10000000000000,)")})
    yield "array of nothing", zipped(members | header | {f"{name}.npy": b""})
    yield "array of code", zipped(members | header | {f"{name}.npy": npy("__import__('os')", "(1,)")})
    bomb = members | header | {f"{name}.npy": npy("'<f4'", f"({100 * 2**20},)", bytes(400 * 2**20))}
    yield "bomb", zipped(bomb, zipfile.ZIP_DEFLATED)


def samplers() -> Iterator[tuple[str, bytes]]:
    prior = SAMPLERS[[p.stem for p in SAMPLERS].index("prior")]
    mixture = SAMPLERS[[p.stem for p in SAMPLERS].index("gaussian_mixture")]
    yield from any_file(mixture, 1)
    for name, config in (
        ("unknown", {"sampler": "Nothing"}),
        ("of another class", {"sampler": "TwoStageSampler", "config": {"hidden_units": 10**9}}),
        ("class of no name", {"sampler": 3}),
        ("unknown argument", {"config": {"nonsense": 1}}),
        ("argument of another type", {"config": {"temperature": "hot"}}),
        ("temperature NaN", {"config": {"temperature": float("nan")}}),
        ("temperature infinite", {"config": {"temperature": float("inf")}}),
        ("no temperature", {"config": {"temperature": -1}}),
    ):
        yield f"header {name}", with_header(prior, **config)
    for dimensions in (0, -1, 10**12):
        yield (
            f"{dimensions} dimensions",
            changed(prior, lambda content, d=dimensions: content.update(latent_dim=np.array(d))),
        )
    for path in SAMPLERS:
        name = largest(arrays(path)) if path.stem != "prior" else "latent_dim"
        yield f"{path.stem} without {name}", changed(path, lambda content, n=name: content.pop(n))
        yield (
            f"{path.stem} with a small {name}",
            changed(path, lambda content, n=name: content.update({n: np.zeros((2, 2), np.float32)})),
        )


def checkpoints() -> Iterator[tuple[str, bytes]]:
    yield from any_file(CHECKPOINT, 2)
    for name, header in (
        ("step", {"step": -1}),
        ("steps", {"step": 10**12}),
        ("epoch", {"steps_per_epoch": 0}),
        ("logs", {"logs": [3]}),
        ("best", {"best": {"step": "x"}}),
    ):
        yield f"header {name}", with_header(CHECKPOINT, **header)
    yield "no metrics", changed(CHECKPOINT, lambda content: content.pop("metrics"))
    yield "metrics of words", changed(CHECKPOINT, lambda content: content.update(metrics=np.array("x")))


def attacks() -> list[Attack]:
    def written(name: str, content: bytes) -> Callable[[Path], object]:
        def make(folder: Path) -> None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

        return make

    found = [
        Attack(f"sampler: {name}", code=LOAD, make=written("sampler.npz", content), harmless=name == "flipped")
        for name, content in samplers()
    ]
    found += [
        Attack(f"checkpoint: {name}", code=RESTORE, make=written(f"checkpoints/{CHECKPOINT.name}", content))
        for name, content in checkpoints()
    ]
    found.append(Attack("sampler: pipe", code=LOAD, make=lambda folder: os.mkfifo(folder / "sampler.npz")))
    return found


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    tried = attacks()
    assert len(tried) >= 40
    faults = judged(tried)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", SAMPLERS, ids=lambda path: path.stem)
def test_the_good_ones_are_read(path):
    from kerasgen.samplers import load_sampler

    assert load_sampler(path).sample(2, seed=0).z.shape[0] == 2
