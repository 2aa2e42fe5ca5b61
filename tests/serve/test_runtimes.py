"""Engines and clients that share no code with this project, on its SavedModels: the binary itself is not run here.

TensorFlow's C++ loader in a process without TensorFlow's Python; OpenVINO; OpenVINO's client for TensorFlow Serving
in an environment of its own. Each skips only where its wheel doesn't exist for the platform.
"""

import base64
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasgen.export import ImageSpec, export_model
from kerasgen.networks import resnet_generator

from .conftest import expected, publish

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(1)
    return resnet_generator(filters=4, blocks=1)


@pytest.fixture(scope="module")
def artifact(generator, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes")
    return export_model(generator, folder / "net", inputs=photos, image=ImageSpec(multiple=4)).path


def definitions(path):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0].signature_def


@pytest.mark.skipif(sys.platform != "linux", reason="TensorFlow's wheel has libtensorflow_cc.so on Linux only")
def test_tensorflows_cpp_loader(artifact, generator, photos, files, tmp_path):
    import tensorflow as tf

    signatures, requests, names = definitions(artifact), [], []

    def ask(signature, value, dtype):
        (feed,), (fetch,) = signatures[signature].inputs.values(), signatures[signature].outputs.values()
        feeds = {} if value is None else {feed.name: value}
        requests.append({"feeds": feeds, "dtypes": {feed.name: dtype}, "fetches": [fetch.name]})
        names.append(fetch.name)

    encoded = [base64.b64encode(file).decode() for file in files]
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    wrong = {
        "wrong rank": ("serving_default", photos[0].tolist(), "uint8"),
        "wrong dtype": ("serving_default", photos.tolist(), "float32"),
        "wrong channels": ("serving_default", photos[..., :1].tolist(), "uint8"),
        "too small": ("serving_default", [[[[1, 2, 3]]]], "uint8"),
        "nothing": ("serving_default", None, "uint8"),
        "no rows": ("serving_default", np.zeros((0, 8, 8, 3)).tolist(), "uint8"),
        "truncated": ("bytes", [base64.b64encode(files[0][:300]).decode()], "string"),
        "oversized": ("bytes", [base64.b64encode(huge).decode()], "string"),
        "no picture": ("bytes", [base64.b64encode(b"hello").decode()], "string"),
        "no bytes": ("bytes", [""], "string"),
        "wrong rank of floats": ("float", [1.0, 2.0], "float32"),
    }
    for case in wrong.values():
        ask(*case)
        ask("serving_default", photos.tolist(), "uint8")  # the next request works
    ask("bytes", encoded, "string")
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    script, libraries = Path(__file__).with_name("cpp_loader.py"), Path(tf.__file__).parent
    command = [sys.executable, script, libraries, artifact, tmp_path / "requests.json", tmp_path / "answers.npz"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]  # an abort would be a signal
    answers = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    refused, worked = answers[:-1:2], [*answers[1::2], answers[-1]]
    for case, answer in zip(wrong, refused, strict=True):
        assert answer["code"] == 3, (case, answer)  # INVALID_ARGUMENT
        assert answer["said"], case
    assert [answer["code"] for answer in worked] == [0] * (len(wrong) + 1)
    found, truth = np.load(tmp_path / "answers.npz"), expected(generator, photos)
    for i in range(1, len(requests) - 1, 2):
        assert np.abs(found[f"{i}/{names[i]}"].astype("int32") - truth).max() <= 1
    from kerasgen.export.contract.served import decoded

    pictures = decoded(found[f"{len(requests) - 1}/{names[-1]}"]).astype("int32")
    assert np.abs(pictures - truth).max() <= 1


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="this platform has no wheel of OpenVINO")
def test_openvino_reads_the_saved_model_and_the_onnx_file(artifact, generator, photos, tmp_path):
    from kerasgen.export.formats.openvino import import_runtime

    openvino = import_runtime()
    onnx = export_model(generator, tmp_path / "net", "onnx", inputs=photos, image=ImageSpec(multiple=4)).path
    truth = expected(generator, photos)
    for path in (artifact, onnx):
        core = openvino.Core()
        model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        outputs = model({model.inputs[0]: photos}) if len(model.inputs) == 1 else model({"image": photos})
        (found,) = [value for value in outputs.values() if value.shape == truth.shape and value.dtype == np.uint8]
        assert np.abs(found.astype("int32") - truth).max() <= 1, path


OVMS = """
import json, sys
import numpy as np
from ovmsclient import make_grpc_client, make_http_client
photos = np.load(sys.argv[3])
for make, port in ((make_grpc_client, sys.argv[1]), (make_http_client, sys.argv[2])):
    client = make(f"127.0.0.1:{port}")
    status = client.get_model_status(model_name="tiny")
    metadata = client.get_model_metadata(model_name="tiny")
    # By REST it knows OpenVINO's spelling alone, and hands TensorFlow Serving's on as it is.
    if "model_spec" in metadata:
        spec, signature = metadata["model_spec"], metadata["metadata"]["signature_def"]["signature_def"]
        inputs = {
            name: {"shape": [int(d["size"]) for d in tensor["tensor_shape"]["dim"]], "dtype": tensor["dtype"]}
            for name, tensor in signature["serving_default"]["inputs"].items()
        }
        metadata = {"model_version": int(spec["version"]), "inputs": inputs}
    found = client.predict(inputs={"image": photos}, model_name="tiny", model_version=1)
    print(json.dumps({
        "state": status[1]["state"], "error": status[1]["error_code"], "version": metadata["model_version"],
        "inputs": metadata["inputs"], "found": np.asarray(found).tolist(),
    }))
    try:
        client.predict(inputs={"image": photos[0]}, model_name="tiny")
        print("answered")
    except Exception as error:
        print(type(error).__name__)
"""


def test_ovmsclient_against_our_server(saved, generators, photos, tmp_path):
    from kerasgen.serve import Server

    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "ovmsclient"]
    installed = subprocess.run(install, capture_output=True, text=True)
    if "No matching distribution" in installed.stderr:
        pytest.skip("this platform has no wheel of ovmsclient")
    assert installed.returncode == 0, installed.stderr
    np.save(tmp_path / "photos.npy", photos[:2, :6, :5])
    publish(tmp_path / "models", saved[1])
    with Server(tmp_path / "models", 0, 0) as server:
        ports = [str(server.grpc_port), str(server.rest_port)]
        command = [python, "-c", OVMS, *ports, tmp_path / "photos.npy"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]
    lines = result.stdout.splitlines()
    assert [lines[1], lines[3]] == ["InvalidInputError"] * 2, lines
    for line in (lines[0], lines[2]):
        said = json.loads(line)
        assert (said["state"], said["error"], said["version"]) == ("AVAILABLE", 0, 1)
        assert said["inputs"] == {"image": {"shape": [-1, -1, -1, 3], "dtype": "DT_UINT8"}}
        truth = expected(generators[1], photos[:2, :6, :5])
        assert np.abs(np.array(said["found"]) - truth).max() <= 1
