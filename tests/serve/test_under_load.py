"""The server as a process of its own: versions swapped under load, and a thousand malformed requests."""

import http.client
import json
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2

from .conftest import expected, publish

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def predict_request(**inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request.SerializeToString()


@pytest.mark.slow
def test_three_versions_under_load_from_four_clients(running, saved, generators, photos):
    """2,000 requests, no error, and each answer is of the one version that it names."""
    process, base = running
    truth = {number: expected(generator, photos[:2]) for number, generator in generators.items()}
    request, each, done, wrong, seen = predict_request(image=photos[:2]), 500, [], [], set()

    def ask():
        with grpc.insecure_channel(f"127.0.0.1:{process.grpc}") as channel:
            call = channel.unary_unary(PREDICT, response_deserializer=predict_pb2.PredictResponse.FromString)
            for _ in range(each):
                try:
                    response = call(request, timeout=60)
                    version = response.model_spec.version.value
                    found = tf.make_ndarray(response.outputs["generated"]).astype("int32")
                    seen.add(version)
                    if np.abs(found - truth[version]).max() > 1:
                        wrong.append(version)
                except grpc.RpcError as error:
                    wrong.append(str(error))
                done.append(1)
                time.sleep(0.002)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for number, after in ((2, 500), (3, 1200)):
        while len(done) < after:
            time.sleep(0.01)
        publish(base, saved[number])
    for client in clients:
        client.join()
    assert not wrong
    assert len(done) == 2000
    assert seen == {1, 2, 3}
    assert process.stop() == 0
    process.end()
    assert "Unloaded version 1 of tiny.\n" in process.said
    assert "production is TensorFlow Serving" in process.said[0]
    assert process.said[-1] == "Stopped.\n"


DTYPES = [tf.uint8, tf.float32, tf.int32, tf.string, tf.bool, tf.complex64, tf.half, tf.int64]
SHAPES = st.lists(st.integers(-2, 2**40) | st.integers(0, 9), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@st.composite
def tensors(draw):
    tensor = tf.make_tensor_proto(np.zeros((1, 4, 4, 3), "uint8"))
    tensor.dtype = draw(st.sampled_from(DTYPES)).as_datatype_enum
    del tensor.tensor_shape.dim[:]
    for size in draw(SHAPES):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = draw(st.binary(max_size=64))
    tensor.string_val.extend(draw(st.lists(st.binary(max_size=32), max_size=3)))
    return tensor


@st.composite
def messages(draw, file):
    """A gRPC request that is malformed in one of several ways."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny" if draw(st.integers(0, 9)) else draw(st.sampled_from(["", "other"]))
    request.model_spec.signature_name = draw(st.sampled_from(["serving_default", "float", "bytes", "", "x"]))
    kind = draw(st.sampled_from(["tensors", "file", "bytes"]))
    if kind == "tensors":
        for name in draw(st.lists(st.sampled_from(["image", "image_bytes", "picture"]), max_size=2)):
            request.inputs[name].CopyFrom(draw(tensors()))
        return request.SerializeToString()
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    # A file that was cut, or in which one byte fell over.
    cut = draw(st.integers(0, len(file) - 1))
    damaged = file[:cut] + (bytes([draw(st.integers(0, 255))]) + file[cut + 1 :] if draw(st.booleans()) else b"")
    request.model_spec.name, request.model_spec.signature_name = "tiny", "bytes"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([damaged]))
    return request.SerializeToString()


@st.composite
def bodies(draw):
    """A REST body that is malformed in one of several ways."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=100))
    keys = st.sampled_from(["instances", "inputs", "signature_name", "x"])
    return json.dumps(draw(st.dictionaries(keys, JSON, max_size=3) | JSON)).encode()


@pytest.mark.slow
def test_a_thousand_malformed_requests(running, photos, files):
    process, _ = running
    good = predict_request(image=photos[:1])
    channel = grpc.insecure_channel(f"127.0.0.1:{process.grpc}")
    call = channel.unary_unary(PREDICT, response_deserializer=predict_pb2.PredictResponse.FromString)
    count, codes, sizes = 0, {}, {}

    @settings(
        max_examples=500, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(messages(files[0]), bodies())
    def fuzz(message, body):
        nonlocal count
        try:
            call(message, timeout=30)
            code, sentence = "OK", "a byte that fell over may still be a picture"
        except grpc.RpcError as error:
            code, sentence = error.code().name, error.details()
        assert sentence
        connection = http.client.HTTPConnection("127.0.0.1", process.rest, timeout=30)
        connection.request("POST", "/v1/models/tiny:predict", body)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status in (200, 400), answer
        assert response.status == 200 or answer["error"]
        codes[code] = codes.get(code, 0) + 1
        codes[response.status] = codes.get(response.status, 0) + 1
        count += 2
        sizes[count] = process.memory()

    fuzz()
    call(good, timeout=30)
    assert process.process.poll() is None
    assert count >= 1000, count
    assert set(codes) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", 200, 400}, codes
    assert codes["INVALID_ARGUMENT"] > 300, codes
    assert codes[400] > 450, codes
    # After the first hundred have filled the pools of threads and buffers, it stays flat.
    first, last = sizes[min(n for n in sizes if n >= 100)], sizes[max(sizes)]
    print(f"\n{codes}; {first / 2**20:.0f} MiB after 100 requests, {last / 2**20:.0f} MiB after {count}")
    assert last <= 1.05 * first
    channel.close()
    assert process.stop() == 0
