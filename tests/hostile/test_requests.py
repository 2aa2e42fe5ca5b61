"""Hostile requests, REST and gRPC: each gets a sentence or a closed connection, and the next good one its answer.

They go over real sockets to `kerasgen serve` in a process of its own, on real SavedModels. What is random in them is
seeded by their name.
"""

import base64
import gzip
import http.client
import io
import json
import random
import re
import socket
import struct
import zlib

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2

from ..serve.conftest import publish, save_signatures
from ..serve.process import Process

pytestmark = pytest.mark.slow

# The seconds are the server's own: other programs may keep the machine from it, so that a client waits for longer.
SECONDS, BYTES, LONGEST = 20, 3 * 2**30, 400
PATIENCE = 120
PREDICT = "/tensorflow.serving.PredictionService/Predict"
REFUSED = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A narrow network, a wide one that takes 260 bytes a pixel, and a decoder that makes n pictures of a class."""
    import keras

    base, saved = tmp_path_factory.mktemp("hostile"), tmp_path_factory.mktemp("saved")
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    z, label = keras.Input((4,), name="z"), keras.Input((3,), name="label")
    narrow = keras.layers.Conv2D(3, 1, activation="tanh", name="generated")(image)
    wide = keras.layers.Conv2D(3, 1, name="generated")(keras.layers.Conv2D(64, 3, padding="same")(image))
    made = keras.layers.Dense(64, activation="tanh")(keras.layers.Concatenate()([z, label]))
    pictures = keras.layers.Reshape((8, 8, 1), name="image")(made)
    networks = {
        "narrow": keras.Model(image, narrow),
        "wide": keras.Model(image, wide),
        "dreams": keras.Model({"z": z, "label": label}, pictures),
    }
    for name, network in networks.items():
        publish(base, save_signatures(network, saved / name), name)
    process = Process(base)
    yield process
    process.end()


def http_request(body=b"", path="/v1/models/narrow:predict", method="POST", version="HTTP/1.1", **headers):
    """A request as bytes; a header of None is left out."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Host": "127.0.0.1", "Content-Length": len(content)}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"{method} {path} {version}\r\n{head}\r\n".encode("latin-1") + content


def png(width, height, pixels=None):
    """A PNG that says so many pixels; a few bytes of them unless they are given."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels or zlib.compress(b"\0" * 99))


def blank(side):
    stream = io.BytesIO()
    Image.new("1", (side, side)).save(stream, "PNG")
    return stream.getvalue()


def files(*contents, model="narrow"):
    sent = [{"b64": base64.b64encode(content).decode()} for content in contents]
    return http_request({"signature_name": "bytes", "instances": sent}, f"/v1/models/{model}:predict")


def dreams(signature="generate", **inputs):
    return http_request({"signature_name": signature, "inputs": inputs}, "/v1/models/dreams:predict")


def rest_cases(rng):
    """By name, the bytes that are sent to the REST port; large ones are made when they are sent."""
    letters = "".join(rng.choices("abcdefghijklmnop", k=20_000))
    garbage = rng.randbytes(500)
    photo = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(photo, "JPEG")
    jpeg, cut = photo.getvalue(), rng.randrange(100, 600)
    row = [[[1, 2, 3]]]
    head = http_request({"instances": [row]})
    return {
        "garbage": garbage,
        "garbage lines": garbage.replace(b"\n", b"") + b"\r\n\r\n",
        "half a head": head[: rng.randrange(10, 60)],
        "half a body": head[:-4],
        "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + garbage,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n\r\n",
        "a head of a megabyte": lambda: http_request(X_Long="a" * 2**20),
        "fifty thousand headers": lambda: b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        "a negative length": http_request(Content_Length=-1),
        "a length of letters": http_request(Content_Length="many"),
        "a length of 10^30": http_request(Content_Length=10**30),
        "two lengths": http_request(b"{}", content_length=7),
        "a length and chunks": http_request(b"0\r\n\r\n", Content_Length=3, Transfer_Encoding="chunked"),
        "a chunk of letters": http_request(b"zz\r\n", Content_Length=None, Transfer_Encoding="chunked"),
        "a chunk of 2^60": http_request(b"%x\r\n" % 2**60, Content_Length=None, Transfer_Encoding="chunked"),
        "no host": http_request(Host=None),
        "another host": http_request({"instances": [row]}, Host="rebound.example:8501"),
        "half an address as host": http_request({"instances": [row]}, Host="[::1"),
        "another origin": http_request({"instances": [row]}, Origin="https://site.example"),
        "an origin of null": http_request({"instances": [row]}, Origin="null"),
        "from another site": http_request({"instances": [row]}, Sec_Fetch_Site="cross-site"),
        "a socket of the web": http_request(Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version=13),
        "a path out": http_request(path="/v1/models/../../etc/passwd", method="GET"),
        "a path of escapes": http_request(path="/v1/models/%00%1b%5b31m%0d%0aX:%20y:predict"),
        "a path of 20,000 letters": http_request(path=f"/v1/models/{letters}:predict"),
        "a version of 30 digits": http_request(path=f"/v1/models/narrow/versions/{10**30}:predict"),
        "a label of 20,000 letters": http_request({}, path=f"/v1/models/narrow/labels/{letters}:predict"),
        "another method": http_request(method="DELETE"),
        "nothing": http_request(b""),
        "not JSON": http_request(garbage),
        "not UTF-8": http_request(b'{"instances": ["\xff\xfe"]}'),
        "deep JSON": lambda: http_request(b"[" * 5_000_000),
        "deep rows": http_request(b'{"instances": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}"),
        "twenty million lists": lambda: http_request(b'{"instances": [' + b"[]," * 20_000_000 + b"[]]}"),
        "more than is taken": lambda: http_request(b"1" * (65 * 2**20)),
        "a long word among a million": lambda: http_request({"instances": ["a" * 10**6, *"b" * 10**6]}),
        "rows of many lengths": http_request({"instances": [[row[0]] * n for n in range(1, 200)]}),
        "numbers of 4,000 digits": http_request({"instances": [[[[10**4000, 1, 2]]]]}),
        "infinite levels": http_request(b'{"instances": [[[[Infinity, NaN, 1e999]]]]}'),
        "objects for numbers": http_request({"instances": [[[[{}, {}, {}]]]]}),
        "a signature of 20,000 letters": http_request({"instances": [row], "signature_name": letters}),
        "a signature that is a list": http_request({"instances": [row], "signature_name": [letters]}),
        "gzip that unfolds to 256 MiB": lambda: http_request(gzip.compress(b"\0" * 2**28), Content_Encoding="gzip"),
        "gzip in gzip": http_request(gzip.compress(gzip.compress(b"{}")), Content_Encoding="gzip"),
        "half a gzip": http_request(gzip.compress(garbage)[:-20], Content_Encoding="gzip"),
        "garbage behind gzip": http_request(gzip.compress(b"{}") + garbage, Content_Encoding="gzip"),
        "256 MiB behind gzip": lambda: http_request(gzip.compress(b"{}") + bytes(2**28), Content_Encoding="gzip"),
        "gzips that unfold to 128 MiB": http_request(gzip.compress(b"0" * 2**20) * 128, Content_Encoding="gzip"),
        "a million empty gzips": lambda: http_request(gzip.compress(b"") * 10**6, Content_Encoding="gzip"),
        "not gzip": http_request(garbage, Content_Encoding="gzip"),
        "another encoding": http_request(garbage, Content_Encoding="br, gzip, " + letters[:2000]),
        "not base64": http_request({"signature_name": "bytes", "instances": [{"b64": "§" + letters}]}),
        "a PNG of 60,000 squared": files(png(60_000, 60_000)),
        "a PNG without pixels": files(png(0, 7)),
        "a PNG that lacks its pixels": files(png(1000, 1000)),
        "a PNG of 4096 squared to a wide network": files(blank(4096), model="wide"),
        "a JPEG cut off": files(jpeg[:cut]),
        "a JPEG whose size lies": files(jpeg.replace(b"\x00\x40\x00\x40", b"\x0f\xff\x0f\xff", 1)[:-200]),
        "PostScript": files(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" + garbage),
        "two thousand files": lambda: files(*[blank(1)] * 2000),
        "minus one picture": dreams(seed=1, n=-1, label=[[1, 0, 0]]),
        "a billion pictures": dreams(seed=1, n=10**9, label=[[1, 0, 0]]),
        "three labels for five": dreams(seed=1, n=5, label=[[1, 0, 0]] * 3),
        "a seed of 100 bits": dreams(seed=2**100, n=1, label=[[1, 0, 0]]),
        "an input too many": dreams(seed=1, n=1, label=[[1, 0, 0]], **{letters: 1}),
    }


def message(model="narrow", signature="", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        tensor = value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(tensor)
    return request.SerializeToString()


def shaped(sizes, dtype=tf.uint8):
    """A tensor of a few bytes that says any shape."""
    tensor = tf.make_tensor_proto(np.zeros((), "uint8"))
    tensor.dtype = dtype if isinstance(dtype, int) else dtype.as_datatype_enum
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def grpc_cases(rng):
    """By name, the method, the bytes and options of the call."""
    garbage, letters = rng.randbytes(300), "".join(rng.choices("abcdefgh", k=20_000))
    zeros = np.zeros((1, 4, 4, 3), "uint8")
    cases = {
        "garbage": garbage,
        "no inputs": message(),
        "another model": message(letters, image=zeros),
        "another signature": message(signature=letters, image=zeros),
        "another input": message(**{letters: zeros}),
        "a shape of 2^120": message(image=shaped([2**40, 2**40, 2**40, 3])),
        "a negative shape": message(image=shaped([1, -5, 4, 3])),
        "a shape of a thousand axes": message(image=shaped([1] * 1000)),
        "a type of no number": message(image=shaped([1, 4, 4, 3], 99)),
        "sixteen million examples": message(image=shaped([2**24 + 1, 1, 1, 3])),
        "4096 squared to a wide network": message("wide", image=shaped([1, 4096, 4096, 3])),
        "a PNG of 4096 squared to a wide network": message("wide", "bytes", image_bytes=[blank(4096)]),
        "a million empty files": lambda: message(signature="bytes", image_bytes=shaped([10**6], tf.string)),
        "more than is taken": lambda: message(image=np.zeros((1, 4800, 4800, 3), "uint8")),
    }
    calls = {name: (PREDICT, content, {}) for name, content in cases.items()}
    return calls | {
        "more than is taken, packed": (
            PREDICT,
            lambda: message(image=np.zeros((1, 4800, 4800, 3), "uint8")),
            {"compression": grpc.Compression.Gzip},
        ),
        "another method": ("/tensorflow.serving.PredictionService/Regress", garbage, {}),
        "another service": (f"/{letters[:200]}/Predict", garbage, {}),
        "metadata of 100 kB": (PREDICT, message(image=zeros), {"metadata": [("x-long", "a" * 100_000)]}),
        "no time": (PREDICT, message(image=zeros), {"timeout": 1e-6}),
    }


REST = rest_cases(random.Random(16))
GRPC = grpc_cases(random.Random(16))
TO_GRPC = {name: REST[name] for name in ("garbage", "a TLS hello", "HTTP/0.9", "nothing", "half a head")}


def answered(port, content):
    """The status and the text of a raw request; (None, "") if the connection was closed without an answer."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(content)
            while b"\r\n\r\n" not in received or not complete(received):
                part = connection.recv(2**16)
                if not part:
                    break
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    if not received.startswith(b"HTTP/1."):
        return None, ""
    response = http.client.HTTPResponse(Received(received))
    response.begin()
    return response.status, response.read().decode()


class Received:
    """What http.client takes for a socket."""

    def __init__(self, content):
        self.content = content

    def makefile(self, mode):
        return io.BytesIO(self.content)


def complete(received):
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    return length is not None and len(body) >= int(length[1])


def check_sentence(text):
    assert 0 < len(text) <= LONGEST, text
    assert text.isprintable(), text
    assert "Traceback" not in text


def check_alive(server, began):
    """A good request by both protocols gets its answer, and the memory is as it should be."""
    picture = np.full((1, 2, 2, 3), 9, "uint8")
    status, text = answered(server.rest, http_request({"instances": picture.tolist()}))
    assert status == 200, text
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        content = channel.unary_unary(PREDICT)(message(image=picture), timeout=PATIENCE)
    found = tf.make_ndarray(predict_pb2.PredictResponse.FromString(content).outputs["generated"])
    assert found.tolist() == json.loads(text)["predictions"]
    assert server.process.poll() is None
    assert server.seconds() - began <= SECONDS
    assert server.peak() - server.at_start <= BYTES


@pytest.mark.parametrize("name", REST)
def test_rest(server, name):
    began = server.seconds()
    content = REST[name]
    status, text = answered(server.rest, content() if callable(content) else content)
    assert status is None or 400 <= status < 500, text
    if status is not None:
        check_sentence(json.loads(text)["error"] if text.startswith("{") else text)
    check_alive(server, began)


@pytest.mark.parametrize("name", GRPC)
def test_grpc(server, name):
    began = server.seconds()
    method, content, options = GRPC[name]
    content = content() if callable(content) else content
    channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc}", [("grpc.max_send_message_length", -1)])
    with channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(method)(content, **{"timeout": PATIENCE, **options})
    assert refused.value.code().name in REFUSED
    assert refused.value.code().name != "DEADLINE_EXCEEDED" or name == "no time"
    check_sentence(refused.value.details())
    check_alive(server, began)


@pytest.mark.parametrize("name", TO_GRPC)
def test_what_is_not_grpc_at_its_port(server, name):
    """The connection is closed, or HTTP/2 says that it doesn't understand."""
    began = server.seconds()
    status, text = answered(server.grpc, TO_GRPC[name])
    assert (status, text) == (None, "")
    check_alive(server, began)


def test_there_are_sixty():
    assert len(REST) + len(GRPC) + len(TO_GRPC) >= 60
