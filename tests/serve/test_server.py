"""The server, asked in TensorFlow Serving's protocols by clients that share no code with it."""

import base64
import http.client
import io
import json
import re
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kerasgen.errors import UserError
from kerasgen.serve import Limits, Server

from .conftest import expected, png, publish


def rest(server, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    content = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
    connection.request(method, path, content)
    response = connection.getresponse()
    result = response.status, json.loads(response.read())
    connection.close()
    return result


class Stub:
    """gRPC by the stubs of tensorflow-serving-api."""

    def __init__(self, server):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", [("grpc.max_send_message_length", -1)])
        self.service = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    def predict(self, inputs, signature="", timeout=60, **spec):
        response = self.service.Predict(self.request(inputs, signature, **spec), timeout=timeout)
        return {n: tf.make_ndarray(t) for n, t in response.outputs.items()}, response.model_spec

    def request(self, inputs, signature="", **spec):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = spec.pop("name", "tiny")
        request.model_spec.signature_name = signature
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        if "label" in spec:
            request.model_spec.version_label = spec["label"]
        for name, value in inputs.items():
            proto = value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
            request.inputs[name].CopyFrom(proto)
        return request


@pytest.fixture
def stub(served):
    stub = Stub(served)
    yield stub
    stub.channel.close()


def decoded(file):
    return np.asarray(Image.open(io.BytesIO(file))).astype("int32")


def test_every_signature_by_grpc(stub, generators, photos, files):
    outputs, spec = stub.predict({"image": photos})
    assert (spec.name, spec.version.value, spec.signature_name) == ("tiny", 2, "serving_default")
    assert outputs["generated"].dtype == np.uint8
    assert np.abs(outputs["generated"].astype("int32") - expected(generators[2], photos)).max() <= 1
    floats = photos.astype("float32") / 127.5 - 1.0
    outputs, _ = stub.predict({"image": floats}, "float")
    np.testing.assert_allclose(outputs["generated"], generators[2](floats), atol=1e-4)
    outputs, _ = stub.predict({"image_bytes": np.array(files, object)}, "bytes", label="stable")
    answers = np.stack([decoded(file) for file in outputs["generated_bytes"]])
    assert np.abs(answers - expected(generators[2], photos)).max() <= 1


@pytest.mark.parametrize("where", ["", "/versions/2", "/labels/stable"])
def test_rows_columns_and_base64_by_rest(served, generators, photos, files, where):
    path, small = f"/v1/models/tiny{where}:predict", photos[:2, :5, :4]
    wanted = expected(generators[2], small)
    for body, key in (
        ({"instances": small.tolist()}, "predictions"),
        ({"instances": [{"image": picture.tolist()} for picture in small]}, "predictions"),
        ({"inputs": small.tolist()}, "outputs"),
        ({"inputs": {"image": small.tolist()}, "signature_name": "serving_default"}, "outputs"),
    ):
        code, answer = rest(served, "POST", path, body)
        assert (code, list(answer)) == (200, [key])
        assert np.abs(np.array(answer[key]) - wanted).max() <= 1
    sent = [{"b64": base64.b64encode(file).decode()} for file in files]
    for body, key in (
        ({"instances": sent}, "predictions"),
        ({"instances": [{"image_bytes": file} for file in sent]}, "predictions"),
        ({"inputs": {"image_bytes": sent}}, "outputs"),
        ({"inputs": sent}, "outputs"),
    ):
        code, answer = rest(served, "POST", path, {**body, "signature_name": "bytes"})
        assert code == 200, answer
        found = np.stack([decoded(base64.b64decode(item["b64"])) for item in answer[key]])
        assert np.abs(found - expected(generators[2], photos)).max() <= 1


def test_status_and_metadata_are_the_same_in_both(served, stub):
    code, found = rest(served, "GET", "/v1/models/tiny")
    (state,) = found["model_version_status"]
    assert state == {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "tiny"
    response = model_service_pb2_grpc.ModelServiceStub(stub.channel).GetModelStatus(request)
    assert [(s.version, s.state) for s in response.model_version_status] == [(2, 30)]
    code, found = rest(served, "GET", "/v1/models/tiny/labels/stable/metadata")
    assert code == 200
    assert found["model_spec"] == {"name": "tiny", "signature_name": "", "version": "2"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "float", "bytes"}
    dims = [dim["size"] for dim in signatures["serving_default"]["inputs"]["image"]["tensor_shape"]["dim"]]
    assert dims == ["-1", "-1", "-1", "3"]
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    packed = stub.service.GetModelMetadata(request).metadata["signature_def"]
    unpacked = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(unpacked)
    assert set(unpacked.signature_def) == set(signatures)


PHOTO = np.zeros((1, 8, 8, 3), "uint8")
HUGE_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
BOMB = tf.make_tensor_proto(np.uint8(0), shape=[100000, 1000, 1000, 3])
LIES = tf.make_tensor_proto(PHOTO)
LIES.tensor_shape.dim[0].size = 2
WRONG = {
    "rank": ("", {"image": PHOTO[0]}, r"shape \[8, 8, 3\], but \[None, None, None, 3\] is needed"),
    "channels": ("", {"image": PHOTO[..., :1]}, r"shape \[1, 8, 8, 1\]"),
    "dtype": ("", {"image": PHOTO.astype("float32")}, "is float32, but uint8 is needed"),
    "empty": ("", {"image": PHOTO[:0]}, "send at least one example"),
    "nothing": ("", {}, "Received the inputs none; the signature takes image"),
    "name": ("", {"picture": PHOTO}, "Received the inputs picture"),
    "signature": ("nonsense", {"image": PHOTO}, "has no signature 'nonsense'"),
    "oversized": ("", {"image": BOMB}, "at most 16,777,216 are taken"),
    "a shape that lies": ("", {"image": LIES}, "holds other values"),
    "no picture": ("bytes", {"image_bytes": [b"hello"]}, "Number 0 .* is not a PNG or JPEG file"),
    "no bytes": ("bytes", {"image_bytes": [b""]}, "is not a PNG or JPEG file"),
    "no files": ("bytes", {"image_bytes": np.zeros((0,), object)}, "send at least one example"),
    "a PNG too large": ("bytes", {"image_bytes": [HUGE_PNG]}, "60000×60000 pixels"),
    "text": ("bytes", {"image_bytes": PHOTO}, "is uint8, but string is needed"),
}


@pytest.mark.parametrize("case", [*WRONG, "truncated PNG"])
def test_a_wrong_request_gets_a_sentence_and_the_next_one_works(stub, files, case):
    truncated = ("bytes", {"image_bytes": [files[0][: len(files[0]) // 2]]}, "Invalid PNG data")
    signature, inputs, sentence = WRONG.get(case, truncated)
    with pytest.raises(grpc.RpcError) as refused:
        stub.predict(inputs, signature)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    refused.match(sentence)
    assert stub.predict({"image": PHOTO})[0]["generated"].shape == PHOTO.shape


def test_more_bytes_than_are_taken_and_no_message_at_all(saved, tmp_path):
    publish(tmp_path, saved[2])
    with Server(tmp_path, 0, 0, limits=Limits(bytes=20_000)) as server:
        stub = Stub(server)
        big = np.zeros((1, 100, 100, 3), "uint8")
        with pytest.raises(grpc.RpcError, match="at most 0 MiB are taken") as refused:
            stub.predict({"image": big})
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        raw = stub.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError, match="not a message of this method") as refused:
            raw(b"\xff\xff\xff")
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        code, answer = rest(server, "POST", "/v1/models/tiny:predict", {"instances": big.tolist()})
        assert (code, answer["error"][:26]) == (400, "The body has more than 0 M")
        assert stub.predict({"image": PHOTO})[0]["generated"].shape == PHOTO.shape
        stub.channel.close()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        ([], 'either "instances"'),
        ({"instances": []}, "at least one row"),
        ({"instances": [[[[1, 2, 3]]]], "inputs": 1}, 'either "instances"'),
        ({"instances": [[[[1, 2]], [[1, 2, 3]]]]}, "differ in length"),
        ({"instances": [[[[1, 2, 300]]]]}, "outside of 0 to 255"),
        ({"instances": [[[[1, 2, -1]]]]}, "outside of 0 to 255"),
        ({"instances": [[[[1, 2, 10**30]]]]}, "outside of 0 to 255"),
        ({"instances": [[[[1, 2, 0.5]]]]}, "holds other values than uint8"),
        ({"instances": [[[1, 2, 3]]]}, r"shape \[1, 1, 3\]"),
        ({"instances": [{"image": 1}, {"picture": 1}]}, "rows differ"),
        ({"inputs": {"b64": "!"}, "signature_name": "bytes"}, "is not base64"),
        ({"instances": [5], "signature_name": "bytes"}, "needs strings"),
        ({"instances": [5], "signature_name": 5}, "must be a string"),
    ],
)
def test_a_wrong_body_is_http_400_with_a_sentence(served, body, sentence):
    code, answer = rest(served, "POST", "/v1/models/tiny:predict", body)
    assert code == 400
    assert re.search(sentence, answer["error"]), answer
    assert rest(served, "POST", "/v1/models/tiny:predict", {"instances": PHOTO.tolist()})[0] == 200


def test_what_is_not_there_is_not_found(served, stub):
    for path in ("/v1", "/v1/models/other", "/v1/models/tiny/versions/9", "/v1/models/tiny/labels/canary/metadata"):
        assert rest(served, "GET", path)[0] == 404
    for spec in ({"name": "other"}, {"version": 9}, {"label": "canary"}):
        with pytest.raises(grpc.RpcError) as refused:
            stub.predict({"image": PHOTO}, **spec)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_request_has_its_time_and_no_more(stub):
    with pytest.raises(grpc.RpcError) as refused:
        stub.predict({"image": np.zeros((1, 3000, 3000, 3), "uint8")}, timeout=0.05)
    assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert stub.predict({"image": PHOTO})[0]["generated"].shape == PHOTO.shape


def test_stopping_frees_the_ports_and_ends_the_threads(saved, tmp_path):
    import threading

    publish(tmp_path, saved[2])
    before = threading.active_count()
    with Server(tmp_path, 0, 0) as server:
        ports = server.grpc_port, server.rest_port
        assert rest(server, "GET", "/v1/models/tiny")[0] == 200
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before
    with Server(tmp_path, *ports) as server:
        with pytest.raises(UserError, match=f"Port {ports[0]} .* --grpc-port"):
            Server(tmp_path, ports[0], 0)
        with pytest.raises(UserError, match=f"Port {ports[1]} .* --rest-port"):
            Server(tmp_path, 0, ports[1])
        assert rest(server, "GET", "/v1/models/tiny")[0] == 200


def test_a_folder_without_models_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        Server(tmp_path / "none")
    with pytest.raises(UserError, match="holds no model that can be loaded"):
        Server(tmp_path)


def test_a_broken_version_is_said_and_the_one_before_stays(saved, tmp_path):
    publish(tmp_path, saved[2])
    said = []
    with Server(tmp_path, 0, 0, poll_seconds=0.05, say=said.append) as server:
        (tmp_path / "empty").mkdir()
        publish(tmp_path, tmp_path / "empty")
        deadline = time.monotonic() + 20
        while not any("can't be loaded" in line for line in said) and time.monotonic() < deadline:
            time.sleep(0.05)
        states = rest(server, "GET", "/v1/models/tiny")[1]["model_version_status"]
        assert [(s["version"], s["state"]) for s in states] == [("2", "END"), ("1", "AVAILABLE")]
        assert rest(server, "POST", "/v1/models/tiny:predict", {"instances": PHOTO.tolist()})[0] == 200
        (tmp_path / "models.config").write_text("model_config_list { config {")
        time.sleep(0.3)
        assert rest(server, "POST", "/v1/models/tiny:predict", {"instances": PHOTO.tolist()})[0] == 200
        assert sum("What is served stays as it was" in line for line in said) == 1


def test_png_of_the_test_is_a_png(photos):
    assert np.array_equal(decoded(png(photos[0])), photos[0])
