"""The phone's sources read what an export writes, by its names and its rule; LiteRT's Kotlin and Swift stay text."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from kerasgen.export import ImageSpec, export_model
from kerasgen.export.contract.golden import RULE
from kerasgen.networks import resnet_generator

PHONE = Path(__file__).parents[1] / "examples" / "phone"
KOTLIN = (PHONE / "android" / "Generator.kt").read_text()
SWIFT = (PHONE / "ios" / "Generator.swift").read_text()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny generator's file, as `examples/export_to_phone.py` writes one, and its manifest."""
    network = resnet_generator(filters=4, blocks=1, downsamplings=0, stem_kernel=3)
    inputs = {"image": np.zeros((1, 16, 24, 3), "float32")}
    path = tmp_path_factory.mktemp("phone") / "generator_a2b"
    artifact = export_model(network, path, format="tflite", inputs=inputs, image=ImageSpec(value_range=(-1, 1)))
    return artifact.path, json.loads(artifact.manifest.read_text())


def names_in(value: object) -> set[str]:
    """Return every name of a manifest, at whatever depth."""
    if not isinstance(value, dict):
        return set()
    return set(value) | {name for inner in value.values() for name in names_in(inner)}


@pytest.mark.parametrize(
    "read",
    [
        set(re.findall(r'(?:get\(|\w\[|, )"(\w+)"[)\]]', KOTLIN)),
        set(re.findall(r"    let (\w+): (?:String|\[)", SWIFT.partition("struct GeneratorError")[0])) | {"golden"},
    ],
    ids=["kotlin", "swift"],
)
def test_they_read_names_that_the_manifest_has(read, exported):
    needed = {
        "sha256",
        "variant",
        "signatures",
        "golden",
        "inputs",
        "outputs",
        "dtype",
        "shape",
        "positions",
        "values",
    }
    assert needed <= read <= names_in(exported[1])


def test_the_contract_is_as_they_take_it(exported):
    """Each step of the sources, in Python: types and places of what they read, and the proof itself."""
    from ai_edge_litert.interpreter import Interpreter

    path, manifest = exported
    (described,) = manifest["signatures"]["serving_default"]["inputs"].values()
    assert described["dtype"] == "uint8"
    (filled,), (expected,) = (manifest["golden"][side].values() for side in ("inputs", "outputs"))
    assert filled["shape"] == [1, 16, 24, 3]
    assert all(isinstance(number, int) for number in (*expected["positions"], *expected["values"]))
    picture = (np.arange(16 * 24 * 3, dtype=np.int64) * 2654435761 & 0xFFFFFFFF) >> 24
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], picture.astype("uint8").reshape(filled["shape"]))
    interpreter.invoke()
    found = interpreter.get_tensor(made["index"]).ravel().astype(int)
    assert abs(found[expected["positions"]] - expected["values"]).max() <= 1


@pytest.mark.parametrize("source", [KOTLIN, SWIFT], ids=["kotlin", "swift"])
def test_they_fill_the_golden_input_by_the_rule(source):
    assert "2654435761" in RULE
    assert "uint8: floor(256 u)" in RULE
    formula = source.rpartition("goldenInput(count")[2].replace("_", "")
    # The upper eight of 32 bits are floor(256 u).
    assert re.search(r"\* 2654435761L? (?:and|&) 0xFFFFFFFFL?\) (?:shr|>>) 24", formula)
