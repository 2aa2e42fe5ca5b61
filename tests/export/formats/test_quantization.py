"""Variants with fewer bits: what is rounded, by how much, on which calibration, and that two exports are one file."""

import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from onnx import numpy_helper
from sklearn.datasets import load_sample_image

from kerasgen.errors import UserError
from kerasgen.export import GateError, export_model, verify
from kerasgen.export.contract.calibration import read_calibration
from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats import onnx as onnx_format
from kerasgen.export.formats.onnx import quantize as _quantize_onnx
from kerasgen.networks import conv_decoder, resnet_generator

STATIC = onnx_format.FORMAT.variant("static_int8")
VARIANTS = [("float16", 0.55), ("dynamic_int8", 0.35), ("static_int8", 0.35)]


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(0)
    return resnet_generator(filters=16, blocks=1)


@pytest.fixture(scope="module")
def crops():
    """24 pieces of 32×32 pixels of a photograph, in [-1, 1]."""
    photo = load_sample_image("china.jpg")[200:328, 200:392] / 127.5 - 1  # the sky would be flat
    return photo.reshape(4, 32, 6, 32, 3).swapaxes(1, 2).reshape(24, 32, 32, 3).astype("float32")


def calibration_for(variant, examples):
    return {"calibration": examples} if variant == "static_int8" else {}


@pytest.mark.parametrize(("variant", "share"), VARIANTS)
def test_an_onnx_variant_is_small_and_near(generator, crops, variant, share, tmp_path):
    options = calibration_for(variant, crops[:16])
    artifact = export_model(generator, tmp_path / "net", "onnx", variant, inputs=crops[16:], **options)
    assert artifact.path.name == f"net.{variant}.onnx"
    assert artifact.bytes <= share * sum(weight.numpy().nbytes for weight in generator.weights)
    assert artifact.signatures["serving_default"]["inputs"]["image"]["dtype"] == "float32"
    # Other sizes and batches than those of the export.
    report = verify(artifact.path, generator, crops[:5, :24, :28])
    assert report.passed, report.checks


def test_onnx_in_8_bits_computes_convolutions_in_8_bits_and_norms_in_float(generator, crops, tmp_path):
    float32 = export_model(generator, tmp_path / "net", "onnx", inputs=crops[:2])
    kinds = operators(float32)
    convolutions = kinds["Conv"]
    kinds = operators(export_model(generator, tmp_path / "net", "onnx", "dynamic_int8", inputs=crops[:2]))
    assert kinds["ConvInteger"] == convolutions
    assert "Conv" not in kinds
    assert kinds["ConvTranspose"] == kinds["DequantizeLinear"] == 2  # ONNX has no integer form of them
    static = export_model(generator, tmp_path / "net", "onnx", "static_int8", calibration=crops)
    readers = {name: node.op_type for node in onnx.load(static.path).graph.node for name in node.input}
    producers = {name: node for node in onnx.load(static.path).graph.node for name in node.output}
    for node in producers.values():
        before = producers.get(node.input[0])
        if node.op_type in ("Conv", "ConvTranspose"):
            assert [producers[name].op_type for name in node.input] == ["DequantizeLinear"] * 3
            assert readers[node.output[0]] == "QuantizeLinear"
        elif node.op_type == "InstanceNormalization":
            assert before.op_type == "DequantizeLinear"
            assert readers[node.output[0]] != "QuantizeLinear"


def operators(artifact):
    return json.loads(artifact.manifest.read_text())["operators"]


def test_onnx_rounds_the_weights_of_a_transposed_convolution_to_the_nearest_step(generator, crops, tmp_path):
    artifact = export_model(generator, tmp_path / "net", "onnx", "dynamic_int8", inputs=crops[:2])
    graph = onnx.load(artifact.path).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    node = next(node for node in graph.node if node.op_type == "ConvTranspose")
    values, scale = (arrays[name] for name in producers[node.input[1]].input)
    kernel = generator.get_layer("up1_conv").kernel.numpy().transpose(3, 2, 0, 1)
    assert values.dtype == np.int8
    np.testing.assert_allclose(scale, np.abs(kernel).max(axis=(0, 2, 3)) / 127, rtol=1e-6)
    error = np.abs(values * scale[:, None, None] - kernel)
    assert (error <= 0.501 * scale[:, None, None]).all()


def test_float16_of_operators_that_leave_outputs_and_inputs_out():
    """Both are named "", which connects nothing."""
    random, nodes, constants, x = np.random.default_rng(0), [], [], "x"
    for i in range(2):
        weights = {"W": (1, 16, 4), "R": (1, 16, 4)}
        for name, shape in weights.items():
            constants.append(numpy_helper.from_array(random.normal(0, 0.2, shape).astype("float32"), f"{name}{i}"))
        inputs = [x, f"W{i}", f"R{i}", "", "", f"h{i - 1}" if i else ""]
        nodes.append(onnx.helper.make_node("LSTM", inputs, ["", f"h{i}"], hidden_size=4, name=f"lstm{i}"))
    ends = [
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)
        for n, s in (("x", [3, 1, 4]), ("h1", [1, 1, 4]))
    ]
    graph = onnx.helper.make_graph(nodes, "two", ends[:1], ends[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.checker.check_model(_quantize_onnx.quantized(model, "float16", None))


def test_tflite_measures_activations_on_the_calibration(generator, crops, tmp_path):
    artifact = export_model(generator, tmp_path / "net", "tflite", "static_int8", calibration=crops)
    kinds = operators(artifact)
    count = kinds["CONV_2D"] + kinds["TRANSPOSE_CONV"]
    assert kinds["QUANTIZE"] == kinds["DEQUANTIZE"] == count  # all else is float
    interpreter = Interpreter(str(artifact.path))
    assert {d["dtype"] for d in interpreter.get_input_details() + interpreter.get_output_details()} == {np.float32}
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    first = next(op for op in interpreter._get_ops_details() if op["op_name"] == "QUANTIZE")
    scale = tensors[first["outputs"][0]]["quantization_parameters"]["scales"][0]
    # The first convolution sees the mirrored pictures: their own range, in 255 steps.
    assert scale == pytest.approx((max(crops.max(), 0) - min(crops.min(), 0)) / 255, rel=1e-5)


def test_static_tflite_passes_and_records_its_calibration(generator, crops, tmp_path):
    artifact = export_model(
        generator, tmp_path / "net", "tflite", "static_int8", inputs=crops[16:], calibration=crops
    )
    recorded = json.loads(artifact.manifest.read_text())["calibration"]
    assert recorded["examples"] == 24
    assert len(recorded["sha256"]) == 64
    assert verify(artifact.path, generator, crops[:3]).passed


def test_dense_layers_are_rounded_too(tmp_path):
    decoder = conv_decoder(4, (8, 8, 1), (8, 8), 256, label_size=10)
    random = np.random.default_rng(0)
    codes = {"z": random.normal(size=(32, 4)), "label": np.eye(10)[random.integers(0, 10, 32)]}
    kinds = operators(export_model(decoder, tmp_path / "net", "onnx", "dynamic_int8", inputs=codes))
    assert kinds["MatMulInteger"] == 2
    for format_name in ("onnx", "tflite"):
        options = {"inputs": codes, "calibration": codes}
        assert export_model(decoder, tmp_path / "net", format_name, "static_int8", **options).bytes < 30_000


def test_the_same_examples_have_one_hash_however_they_are_given(generator, crops):
    signature = model_signature(generator)
    ways = {
        "array": crops,
        "dict": {"image": crops},
        "dataset": tf.data.Dataset.from_tensor_slices(crops).batch(5),
        "dataset of dicts": tf.data.Dataset.from_tensor_slices({"image": crops}).batch(7),
        "dataset of tuples": tf.data.Dataset.from_tensor_slices((crops,)).batch(7),
        "generator": (crops[i : i + 1] for i in range(24)),
    }
    found = {name: read_calibration(signature, STATIC, given, None).describe() for name, given in ways.items()}
    assert all(value == found["array"] for value in found.values()), found
    other = read_calibration(signature, STATIC, crops[::-1], None)
    assert other.sha256 != found["array"]["sha256"]


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        ("static_int8", {}, "received none: pass calibration=.*about 100 examples of image"),
        ("dynamic_int8", {"calibration": np.zeros((1, 8, 8, 3))}, "leave it out, or export one that does"),
        ("static_int8", {"calibration": 100}, "Calibration is an int: give a batch"),
        ("static_int8", {"calibration": iter([])}, "holds no example"),
        ("static_int8", {"calibration": np.zeros((1, 8, 8, 1))}, "has the shape"),
        ("static_int8", {"calibration": {"photo": np.zeros((1, 8, 8, 3))}}, "needs image"),
        ("static_int8", {"calibration": itertools.repeat(np.zeros((8, 8, 8, 3)))}, "repeats without end"),
        (
            "static_int8",
            {"calibration": np.zeros((1, 8, 8, 3)), "inputs": np.zeros((1, 16, 16, 3))},
            r"\(8, 8, 3\), but the inputs to export for have \(16, 16, 3\)",
        ),
        ("float16,dynamic_int8", {}, "more than one rounding in one artifact: export once for each"),
        ("float16+int8", {}, "more than one rounding"),
    ],
)
@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_mistakes_get_a_sentence(generator, format, variant, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        export_model(generator, tmp_path / "net", format, variant, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("variant", ["dynamic_int8", "static_int8"])
def test_a_network_without_weights_has_nothing_in_8_bits(format, variant, tmp_path):
    image = keras.Input((8, 8, 3), name="photo")
    model = keras.Model(image, keras.layers.ReLU(name="positive")(image))
    options = calibration_for(variant, np.zeros((1, 8, 8, 3)))
    with pytest.raises(UserError, match="but this network has none"):
        export_model(model, tmp_path / "net", format, variant, **options)


def test_a_variant_that_rounds_nothing_is_not_published(generator, crops, tmp_path, monkeypatch):
    monkeypatch.setattr(_quantize_onnx, "quantized", lambda model, variant, calibration: model)
    with pytest.raises(GateError, match="weights: "):
        export_model(generator, tmp_path / "net", "onnx", "dynamic_int8", inputs=crops[:2])


_EXPORT = """
import sys
import keras, numpy as np
from kerasgen.export import available_formats, export_model
from kerasgen.networks import resnet_generator

keras.utils.set_random_seed(0)
model = resnet_generator(filters=4, blocks=1, residual=True)  # untrained, it is the identity: each floor is reached
pictures = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3))
for format in ("onnx", "tflite"):
    for variant in available_formats()[format]:
        options = {"calibration": pictures} if variant == "static_int8" else {}
        artifact = export_model(model, f"{sys.argv[1]}/net", format, variant, inputs=pictures, **options)
        print(format, variant, artifact.sha256)
"""


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", _EXPORT, tmp_path / name], stdout=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]
    first, second = (process.communicate()[0].splitlines() for process in processes)
    assert len(first) == 8
    assert first == second
