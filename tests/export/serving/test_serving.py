"""Publishing for TensorFlow Serving: what it reads, by its own protos; and a version that is wrong."""

import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, text_format
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from kerasgen.errors import UserError
from kerasgen.export import GateError, ImageSpec
from kerasgen.export.serving import export_serving
from kerasgen.export.serving.warmup import replay
from kerasgen.networks import conv_decoder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A decoder, whose "generate" takes scalars, and a picture network."""
    base = tmp_path_factory.mktemp("serving") / "models"
    keras.utils.set_random_seed(0)
    decoder = conv_decoder(4, (8, 8, 1), (8, 8), 16, 10)
    image = keras.Input((None, None, 3), name="image")
    shades = keras.Model(image, keras.layers.Conv2D(3, 1, name="shades", activation="tanh")(image), name="shades")
    digits = export_serving(decoder, base, "digits", image=ImageSpec(value_range=(0, 1)))
    return base, digits, export_serving(shades, base, image=ImageSpec())


@pytest.mark.slow
def test_the_folder_is_what_tensorflow_serving_reads(published):
    base, digits, shades = published
    assert digits.path == base / "digits" / "1"
    assert shades.path == base / "shades" / "1"
    assert set(shades.signatures) == {"serving_default", "float", "bytes"}
    assert shades.max_difference <= 1
    config = text_format.Parse((base / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    found = {m.name: (m.base_path, m.model_platform, dict(m.version_labels)) for m in config.model_config_list.config}
    assert found == {
        "digits": ("/models/digits", "tensorflow", {"stable": 1}),
        "shades": ("/models/shades", "tensorflow", {"stable": 1}),
    }
    assert sorted(p.name for p in (base / "shades").iterdir()) == ["1", "README.md"]
    # The two messages that no package has, read by hand.
    numbers = dict(re.findall(r"(\w+) \{\s+value: (\d+)", (base / "batching.config").read_text()))
    assert (
        numbers["max_batch_size"]
        == re.findall(r"allowed_batch_sizes: (\d+)", (base / "batching.config").read_text())[-1]
    )
    assert "enable: true" in (base / "monitoring.config").read_text()


def test_a_warmup_request_for_each_signature(published):
    _, digits, shades = published
    for version, sizes in ((shades, {1, 16}), (digits, {1, 16})):
        file = version.path / "assets.extra" / "tf_serving_warmup_requests"
        logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(file))]
        assert len(logs) == version.warmup <= 1000
        requests = [log.predict_log.request for log in logs]
        assert {r.model_spec.name for r in requests} == {version.name}
        assert {r.model_spec.signature_name for r in requests} == set(version.signatures)
        first = [r for r in requests if r.model_spec.signature_name == "serving_default"]
        assert {next(iter(r.inputs.values())).tensor_shape.dim[0].size for r in first} == sizes


@pytest.mark.slow
def test_a_warmup_request_that_fails_fails_the_publishing(published, tmp_path):
    import shutil

    from kerasgen.export.serving.warmup import write_warmup

    copy = shutil.copytree(published[2].path, tmp_path / "copy")
    wrong = {"serving_default": {"image": np.zeros((1, 8, 8), "uint8")}}
    write_warmup(copy, "shades", wrong, {"serving_default": True}, (1,))
    with pytest.raises(GateError, match="warm-up request failed"):
        replay(copy)


@pytest.mark.slow
def test_a_model_that_fails_the_gate_is_not_published(tmp_path):
    image = keras.Input((4, 4, 3), name="image")
    broken = keras.Model(image, keras.layers.Rescaling(np.inf)(image))
    with pytest.raises(GateError):
        export_serving(broken, tmp_path, "broken")
    assert not list((tmp_path / "broken").iterdir())
    assert not (tmp_path / "models.config").exists()


@pytest.mark.slow
def test_a_name_is_not_given_to_another_network(tmp_path):
    def network(filters: int) -> keras.Model:
        x = keras.Input((4,), name="x")
        return keras.Model(x, keras.layers.Dense(2)(keras.layers.Dense(filters)(x)), name="network")

    export_serving(network(3), tmp_path)
    with pytest.raises(UserError, match=r"network holds another network, .*: give it another name \(--name\)"):
        export_serving(network(5), tmp_path)
    with pytest.raises(UserError, match="holds another network"):
        export_serving(network(5), tmp_path, "network", same_network=True)
    assert [p.name for p in (tmp_path / "network").iterdir() if p.is_dir()] == ["1"]
    assert export_serving(network(3), tmp_path).number == 2
    assert export_serving(network(5), tmp_path, "network").number == 3


def test_docker_and_kubernetes_start_the_same_server(published):
    base, *_ = published
    compose = yaml.safe_load((base / "compose.yaml").read_text())["services"]["serving"]
    deployment, service = yaml.safe_load_all((base / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert compose["command"] == container["args"]
    assert compose["image"] == container["image"]
    assert re.fullmatch(r"tensorflow/serving:2\.\d+\.\d+", compose["image"])
    assert all(port.startswith("127.0.0.1:") for port in compose["ports"])
    assert {p["targetPort"] for p in service["spec"]["ports"]} == {p["name"] for p in container["ports"]}
    script = (base / "run.sh").read_text()
    for flag in compose["command"]:
        assert flag in script
        file = re.search(r"=/models/(.*)", flag)
        assert file is None or (base / file[1]).is_file()
    # TensorFlow Serving refuses scalars in its batching mode, and "generate" has two.
    assert not any("batching" in flag for flag in compose["command"])
    assert "Not run where this was written" in (base / "README.md").read_text()


def test_the_lines_for_grpcurl_are_messages_of_the_service(published):
    base, *_ = published
    files = descriptor_pb2.FileDescriptorSet.FromString((base / "serving.protoset").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    service = pool.FindServiceByName("tensorflow.serving.PredictionService")
    assert service.FindMethodByName("Predict").input_type.name == "PredictRequest"
    found = 0
    for name in ("digits", "shades"):
        for line in re.findall(r"'(\{\"model_spec.*?\})' .*grpcurl", (base / name / "README.md").read_text()):
            request = json_format.Parse(line.replace("%s", "iVBORw=="), predict_pb2.PredictRequest())
            assert request.model_spec.name == name
            assert all(tf.make_ndarray(tensor).size for tensor in request.inputs.values())
            found += 1
    assert found == 4  # three of the decoder's signatures, and "bytes"


def test_mistakes_are_sentences(published):
    base, *_ = published
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="a b")
    with pytest.raises(UserError, match="'a b' can't be part of a URL"):
        export_serving(model, base)
    with pytest.raises(UserError, match="version is 0"):
        export_serving(model, base, "ab", version=0)
    with pytest.raises(UserError, match="no version is ever replaced"):
        export_serving(model, base, "digits", version=1)


def test_the_page_names_every_signature(published):
    base, digits, _ = published
    page = (base / "digits" / "README.md").read_text()
    for name in digits.signatures:
        assert f"| `{name}` |" in page
    for body in re.findall(r"curl -s -d '(.*?)' http", page):
        assert {"signature_name", "inputs"} == set(json.loads(body))


def test_the_page_asks_for_a_real_class(tmp_path):
    decoder = conv_decoder(4, (8, 8, 1), (8, 8), 16, 10)
    inputs = {"z": np.full((2, 4), 0.1, "float32"), "label": np.eye(10, dtype="float32")[[7, 3]]}
    export_serving(decoder, tmp_path, "digits", inputs=inputs, image=ImageSpec(value_range=(0, 1)))
    page = (tmp_path / "digits" / "README.md").read_text()
    asked = {b["signature_name"]: b["inputs"] for b in map(json.loads, re.findall(r"curl -s -d '(.*?)' http", page))}
    assert asked["generate"] == {"seed": 1, "n": 1, "label": [np.eye(10)[7].tolist()]}
    assert asked["serving_default"] == {"z": [[0.1] * 4], "label": [np.eye(10)[7].tolist()]}


def test_what_others_copied_in_half_stops_nobody(published, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(published[0], folder)
    (folder / "empty" / "1").mkdir(parents=True)
    (folder / "cut" / "1").mkdir(parents=True)
    (folder / "cut" / "1" / "saved_model.pb").write_bytes(b"\x0a\xff\xff")
    image = keras.Input((8, 8, 3), name="image")
    with pytest.warns(UserWarning, match="is not a SavedModel that can be read"):
        served = export_serving(keras.Model(image, keras.layers.Conv2D(3, 1)(image)), folder, "other")
    assert served.number == 1
    assert (folder / "batching.config").is_file()
