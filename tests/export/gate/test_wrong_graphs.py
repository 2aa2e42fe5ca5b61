"""Deliberately wrong graphs: small faults that rounding would hide are refused in every variant of every format."""

from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import numpy_helper

from kerasgen.errors import UserError
from kerasgen.export import available_formats, export_model, verify
from kerasgen.export.contract.calibration import Calibration
from kerasgen.export.contract.inputs import network_and_inputs
from kerasgen.export.contract.manifest import digest_of, read_manifest, settle_manifest
from kerasgen.export.contract.signature import Signature
from kerasgen.export.formats.registry import Request, find_format, signatures_of
from kerasgen.export.gate.gate import Again, _check_bias, _check_parity
from kerasgen.export.gate.runtime import Arrays

FAULTS = ("gain", "offset", "swapped", "residual")
SIDE = 16


def network(fault: str = "") -> keras.Model:
    """A picture through a residual to a picture, with a gain of 1% and an offset of 0.01; or without one of them."""
    keras.utils.set_random_seed(3)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = y if fault == "residual" else layers.Add()([x, y])
    x = layers.Conv2D(3, 3, padding="same", activation="tanh")(x)
    if fault == "swapped":
        x = layers.Concatenate()([x[..., 1:2], x[..., 0:1], x[..., 2:3]])
    x = layers.Rescaling(1.0 if fault == "gain" else 1.01, 0.0 if fault == "offset" else 0.01, name="result")(x)
    return keras.Model(image, x, name="net")


def photographs(n: int, seed: int = 0) -> np.ndarray:
    from sklearn.datasets import load_sample_images

    random, photo = np.random.default_rng(seed), load_sample_images().images[0] / 127.5 - 1
    corners = [(int(random.integers(150, 400)), int(random.integers(600))) for _ in range(n)]
    return np.stack([photo[y : y + SIDE, x : x + SIDE] for y, x in corners]).astype("float32")


def made(format: str, model: keras.Model, folder, calibration: np.ndarray) -> tuple[Signature, dict[str, Arrays]]:
    """Every variant of a network, as it comes out of the format's own code, run on the same pictures."""
    module = find_format(format)
    form = module.FORMAT
    signature, arrays = network_and_inputs(model, photographs(8), None, form)
    signatures = signatures_of(form, signature, None, {}, "nhwc")
    examples = Calibration([{"image": picture[None]} for picture in calibration], "")
    request = Request(signatures, "float32", arrays, examples)
    folder.mkdir()
    outputs = {}
    for variant in form.variant_names:
        path = folder / f"{variant}{form.suffix}"
        if variant == "float32":
            module.export(request, path)
        else:
            module.rounded(replace(request, variant=variant), folder / f"float32{form.suffix}", path)
        outputs[variant] = module.load(str(path), 1).run("serving_default", arrays)
    return signature, outputs


@pytest.mark.slow
@pytest.mark.parametrize("format", available_formats())
def test_a_small_fault_is_refused_in_every_variant(format, tmp_path):
    form, calibration = find_format(format).FORMAT, photographs(32, seed=1)
    signature, right = made(format, network(), tmp_path / "right", calibration)
    keras_outputs = signature.reference({"image": photographs(8)})
    _, elsewhere = made(format, network(), tmp_path / "elsewhere", photographs(32, seed=2))
    for fault in FAULTS:
        _, wrong = made(format, network(fault), tmp_path / fault, calibration)
        # What it is made from is refused when it is published, whatever the variant.
        _, checks = _check_parity(form.variant("float32"), wrong["float32"], keras_outputs, None)
        assert not checks[-1].passed, (fault, checks)
        for kind in form.variants[1:]:
            # And what is published already is refused by `verify`.
            again = Again(right[kind.name], same=True)
            _, checks = _check_parity(kind, wrong[kind.name], keras_outputs, right["float32"])
            checks.append(_check_bias(kind, wrong[kind.name], right["float32"], again, -1))
            assert not all(check.passed for check in checks), (fault, kind.name, checks)
    for kind in form.variants[1:]:
        assert _check_bias(kind, right[kind.name], right["float32"], None, -1).passed
        other = Again(elsewhere[kind.name], same=not kind.calibrated)
        check = _check_bias(kind, right[kind.name], right["float32"], other, -1)
        assert check.passed, (kind.name, check)


def forged(artifact, change) -> None:
    """Change a published ONNX file, and write its manifest anew as somebody would who hides it."""
    manifest = read_manifest(artifact.path)
    model = onnx.load(artifact.path)
    change(model.graph)
    onnx.save(model, artifact.path)
    digest, size = digest_of(artifact.path)
    settle_manifest(artifact.path, manifest | {"sha256": digest, "bytes": size})


def lose_the_gain(graph) -> None:
    for tensor in [*graph.initializer, *(a.t for node in graph.node for a in node.attribute)]:
        array = numpy_helper.to_array(tensor) if tensor.data_type else np.zeros(0)
        if array.dtype == np.float32 and array.size and np.allclose(array, 1.01):
            tensor.CopyFrom(numpy_helper.from_array(np.ones_like(array), tensor.name))
            return
    raise AssertionError("the gain is not in the graph")


@pytest.mark.parametrize("variant", ["float32", "dynamic_int8"])
def test_verify_finds_a_published_file_that_lost_its_gain(variant, tmp_path):
    model = network()
    artifact = export_model(model, tmp_path / "net", "onnx", variant, inputs=photographs(4))
    assert verify(artifact.path, model, photographs(6, seed=4)).passed
    forged(artifact, lose_the_gain)
    report = verify(artifact.path, model, photographs(6, seed=4))
    assert [check.name for check in report.checks if not check.passed] == [
        "parity" if variant == "float32" else "bias"
    ]


def test_a_claim_of_a_looser_variant_is_refused(tmp_path):
    model = network()
    artifact = export_model(model, tmp_path / "net", "onnx", inputs=photographs(4))
    manifest = read_manifest(artifact.path)
    settle_manifest(artifact.path, manifest | {"variant": "dynamic_int8"})
    report = verify(artifact.path, model)
    assert "manifest" in [check.name for check in report.checks if not check.passed]


@pytest.mark.parametrize("claim", [{"license": "CC0-1.0"}, {"tolerance": "at most 1"}, {"golden": {}}])
def test_what_the_manifest_claims_is_bound_to_the_file(claim, tmp_path):
    artifact = export_model(network(), tmp_path / "net", "onnx", inputs=photographs(2), license="CC-BY-4.0")
    settle_manifest(artifact.path, read_manifest(artifact.path) | claim)
    report = verify(artifact.path, network(), photographs(2))
    found = next(check for check in report.checks if check.name == "manifest")
    assert not found.passed
    assert next(iter(claim)) in found.found


@pytest.mark.parametrize("claim", [{"path": "other.onnx"}, {"bytes": 1}, {"sha256": "0" * 64}, {"signatures": []}])
def test_a_manifest_of_another_file_is_refused(claim, tmp_path):
    artifact = export_model(network(), tmp_path / "net", "onnx", inputs=photographs(2))
    settle_manifest(artifact.path, read_manifest(artifact.path) | claim)
    with pytest.raises(UserError, match=r"not the artifact|missing or damaged"):
        verify(artifact.path, network())
