"""What the server holds out: the slow, the many, those who leave, those who ask for too much, and broken folders."""

import base64
import gzip
import http.client
import io
import json
import resource
import signal
import socket
import threading
import time
from contextlib import ExitStack

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerasgen.commands.translate import translate_folder
from kerasgen.errors import UserError
from kerasgen.serve import Limits, Server
from kerasgen.serve.client import Client
from kerasgen.serve.pictures import upright
from kerasgen.serve.refusal import Refusal
from kerasgen.serve.rest_api import _Body
from kerasgen.serve.version import LoadedVersion

from .conftest import expected, png, publish, save_signatures
from .process import Process
from .test_server import PHOTO, Stub, decoded, rest

PREDICT = "/v1/models/tiny:predict"
GOOD = {"instances": PHOTO.tolist()}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A network of many channels: a megapixel takes it two gigabytes and some seconds."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    inner = keras.layers.Conv2D(256, 3, padding="same")(keras.layers.Conv2D(256, 3, padding="same")(image))
    network = keras.Model(image, keras.layers.Conv2D(3, 1, activation="tanh", name="generated")(inner))
    return save_signatures(network, tmp_path_factory.mktemp("wide") / "1")


@pytest.fixture
def many_files():
    """Leave to open as many files as the system allows at all."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def eventually(true, seconds=60):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "sent"), [(300, b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: 127"), (2000, b"")]
)
def test_slow_and_idle_connections_shut_nobody_out(running, many_files, count, sent):
    """By both ports: 200 good requests, each over a connection of its own, are answered meanwhile."""
    process, _ = running
    with ExitStack() as held:
        for port in (process.rest, process.grpc):
            for _ in range(count):
                connection = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
                connection.sendall(sent)
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", process.rest, timeout=60)
            connection.request("POST", PREDICT, json.dumps(GOOD))
            assert connection.getresponse().status == 200
            connection.close()
        with Client(f"grpc://127.0.0.1:{process.grpc}", "tiny", tries=1) as client:
            assert client.predict({"image": PHOTO})["generated"].shape == PHOTO.shape


def test_a_head_has_its_time_and_a_body_too(saved, tmp_path):
    publish(tmp_path, saved[2])
    head = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    said = {head[:30]: b"head wasn't complete", head + b"\r\n{": b"didn't arrive in time", b"": b""}
    with Server(tmp_path, 0, 0, limits=Limits(head_seconds=0.5)) as server:
        for sent, sentence in said.items():
            with socket.create_connection(("127.0.0.1", server.rest_port), timeout=60) as connection:
                connection.sendall(sent)
                received = b"".join(iter(lambda c=connection: c.recv(4096), b""))
            assert sentence in received
            assert received.startswith(b"HTTP/1.1 4") or not sent
        assert rest(server, "POST", PREDICT, GOOD)[0] == 200


@pytest.mark.slow
def test_who_hangs_up_is_not_waited_for(wide, tmp_path):
    """Fifty leave after they asked for seconds of work each: status is told at once, and the next is served soon."""
    publish(tmp_path, wide)
    body = json.dumps(
        {
            "signature_name": "bytes",
            "instances": [{"b64": base64.b64encode(png(np.zeros((350, 350, 3), "uint8"))).decode()}],
        }
    )
    with Server(tmp_path, 0, 0) as server:
        start = time.monotonic()
        assert rest(server, "POST", PREDICT, body.encode())[0] == 200
        alone = time.monotonic() - start
        gone = [http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60) for _ in range(50)]
        for connection in gone:
            connection.request("POST", PREDICT, body)
        start = time.monotonic()
        assert rest(server, "GET", "/v1/models/tiny")[0] == 200
        assert time.monotonic() - start < max(2.0, 5 * alone)
        for connection in gone:
            connection.close()
        start = time.monotonic()
        assert rest(server, "POST", PREDICT, GOOD)[0] == 200
        # Two run to their end, because TensorFlow can't stop a step; the other 48 are not begun.
        assert time.monotonic() - start < 12 * alone + 1


def test_canceled_calls_leave_the_queue(saved, tmp_path, monkeypatch):
    """By gRPC, on a server whose one thread is busy: the queue of two has room again once its two are gone."""
    publish(tmp_path, saved[2])
    run, begun, may_go_on = LoadedVersion._run, threading.Event(), threading.Event()

    def held(*asked):
        begun.set()
        assert may_go_on.wait(60)
        return run(*asked)

    monkeypatch.setattr(LoadedVersion, "_run", held)
    may_go_on.set()
    with Server(tmp_path, 0, 0, threads=1, limits=Limits(waiting=2)) as server:
        stub = Stub(server)
        sent = stub.request({"image": PHOTO})
        with server._models.use("tiny") as version:
            queue = version._batcher._waiting
        may_go_on.clear()
        begun.clear()
        busy = stub.service.Predict.future(sent)
        assert begun.wait(60)
        for _ in range(6):
            waiting = [stub.service.Predict.future(sent) for _ in range(2)]
            assert eventually(lambda: len(queue) == 2)
            with pytest.raises(grpc.RpcError) as refused:
                stub.predict({"image": PHOTO})
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
            for call in waiting:
                call.cancel()
            assert eventually(lambda: not queue)
        may_go_on.set()
        for answer in (busy.result(), stub.service.Predict(sent)):
            assert tf.make_ndarray(answer.outputs["generated"]).shape == PHOTO.shape
        stub.channel.close()


@pytest.mark.slow
def test_deadlines_are_kept(wide, tmp_path):
    """60,000 rows, of which the network does some in the time; both protocols say so, and the rest isn't begun."""
    publish(tmp_path, wide)
    rows, seconds = np.zeros((60_000, 8, 8, 3), "uint8"), 5.0
    with Server(tmp_path, 0, 0, limits=Limits(seconds=seconds)) as server:
        stub = Stub(server)
        for timeout in (2.0, 60.0):
            start = time.monotonic()
            with pytest.raises(grpc.RpcError) as refused:
                stub.predict({"image": rows}, timeout=timeout)
            taken = time.monotonic() - start
            assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            print(f"\ngRPC: {taken:.1f} s of {min(timeout, seconds)}")
            assert taken < 2 * min(timeout, seconds) + 1
        body = json.dumps({"instances": rows.tolist()}).encode()
        start = time.monotonic()
        assert rest(server, "POST", PREDICT, body)[0] == 504
        taken = time.monotonic() - start
        print(f"REST: {taken:.1f} s of {seconds}")
        assert taken < 2 * seconds + 5  # of which reading 35 MB of JSON is a part
        assert stub.predict({"image": PHOTO})[0]["generated"].shape == PHOTO.shape
        stub.channel.close()


@pytest.mark.slow
def test_limits_are_in_the_networks_own_bytes(wide, saved, tmp_path):
    """A PNG of a few kilobytes asks a wide network for gigabytes, and a narrow one for little."""
    publish(tmp_path, wide, "wide")
    publish(tmp_path, saved[2], "tiny")
    stream = io.BytesIO()
    Image.new("1", (2048, 1024)).save(stream, "PNG")
    assert len(stream.getvalue()) < 16_000
    body = {"signature_name": "bytes", "instances": [{"b64": base64.b64encode(stream.getvalue()).decode()}]}
    with Server(tmp_path, 0, 0, limits=Limits(memory=2**29)) as server:
        code, answer = rest(server, "POST", "/v1/models/wide:predict", body)
        assert code == 400
        assert "needs about 4." in answer["error"]  # two layers of 256 channels in float32: 2 kB for each pixel
        assert rest(server, "POST", "/v1/models/tiny:predict", body)[0] == 200


@pytest.mark.slow
def test_memory_stays_flat_over_3000_mixed_requests(running, photos, files):
    process, _ = running
    random = np.random.default_rng(0)
    sizes = [photos[:1], photos[:3], np.repeat(photos, 4, 0), np.zeros((1, 200, 150, 3), "uint8")]
    sent = [{"b64": base64.b64encode(file).decode()} for file in files]
    wrong = [b"{", b'{"instances": [[1, 2]]}', json.dumps({"signature_name": "bytes", "instances": [{"b64": "AA"}]})]
    bodies = [json.dumps({"instances": size.tolist()}) for size in sizes]
    bodies += [json.dumps({"signature_name": "bytes", "instances": sent[:n]}) for n in (1, 4)] + wrong
    used = []
    with Client(f"grpc://127.0.0.1:{process.grpc}", "tiny") as client:
        for number in range(3000):
            if number % 3:
                connection = http.client.HTTPConnection("127.0.0.1", process.rest, timeout=60)
                connection.request("POST", PREDICT, bodies[random.integers(len(bodies))])
                if number % 10:
                    assert connection.getresponse().status in (200, 400)
                connection.close()
            else:
                client.predict({"image": sizes[random.integers(len(sizes))]})
            used.append(process.memory())
    start, end = np.mean(used[1000:1100]), np.mean(used[-100:])
    print(f"\n{start / 2**20:.0f} MiB after 1,000 requests, {end / 2**20:.0f} MiB after 3,000")
    assert abs(end - start) <= 0.05 * start


@pytest.mark.parametrize("where", ["host", "origin"])
def test_pages_of_other_sites_may_not_ask(served, where):
    headers = {"host": {"Host": "evil.example:8501"}, "origin": {"Origin": "https://evil.example"}}[where]
    here = {"host": {"Host": "localhost:9000"}, "origin": {"Origin": "http://localhost:3000"}}[where]
    for sent, status in ((headers, 403), (here, 200), ({}, 200)):  # the last without a Content-Type, as curl -d
        connection = http.client.HTTPConnection("127.0.0.1", served.rest_port, timeout=60)
        connection.request("POST", PREDICT, json.dumps(GOOD), sent)
        response = connection.getresponse()
        assert response.status == status, response.read()
        connection.close()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_gzip_and_base64_in_lines_as_tensorflow_serving_takes_them(served, generators, photos, files, encoding):
    """Joined files are gzip, too: the second may follow behind zeros."""
    lines = base64.encodebytes(files[0]).decode()
    assert lines.count("\n") > 3
    body = json.dumps({"signature_name": "bytes", "instances": [{"b64": lines.rstrip().rstrip("=")}]}).encode()
    packed = gzip.compress(body[:100]) + b"\0\0" + gzip.compress(body[100:]) + b"\0"
    connection = http.client.HTTPConnection("127.0.0.1", served.rest_port, timeout=60)
    connection.request("POST", PREDICT, packed, {"Content-Encoding": encoding})
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 200, answer
    picture = decoded(base64.b64decode(answer["predictions"][0]["b64"]))
    assert np.abs(picture - expected(generators[2], photos[:1])[0]).max() <= 1
    connection.close()


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_gzip_is_unpacked_however_it_arrives(step):
    packed = gzip.compress(b"one" * 99) + gzip.compress(b"") + b"\0" * 9 + gzip.compress(b"two") + b"\0" * 9
    body = _Body(300, " GZIP ")
    for at in range(0, len(packed), step):
        body.add(packed[at : at + step])
    assert body.content() == gzip.decompress(packed)
    assert body.taken == 300


@pytest.mark.parametrize(
    ("behind", "sentence"),
    [
        (b"\0" * 1000, "more than"),
        (gzip.compress(b"") * 50, "more than"),
        (gzip.compress(b"a" * 300), "more than"),
        (b"garbage", "not gzip"),
        (b"\0garbage", "not gzip"),
        (gzip.compress(b"a")[:-1], "too early"),
        (b"\x1f", "too early"),
    ],
    ids=["zeros", "empty ones", "too large", "garbage", "garbage after zeros", "half", "a byte"],
)
def test_what_lies_behind_gzip_has_the_same_limits(behind, sentence):
    body = _Body(300, "gzip")

    def send():
        for at in range(0, len(behind), 100):
            body.add(behind[at : at + 100])
        return body.content()

    body.add(gzip.compress(b"a"))
    with pytest.raises(Refusal, match=sentence):
        send()
    assert body.taken <= 300


def test_gzip_of_too_many_members_is_refused_early():
    body = _Body(2**20, "gzip")
    with pytest.raises(Refusal, match="more than 16,384 members of gzip: pack it as one"):
        body.add(gzip.compress(b"") * 20_000)


def test_a_network_of_four_channels_takes_every_file(photos, tmp_path):
    """A JPEG is opaque, and goes as a PNG to a SavedModel that was written when no JPEG was taken."""
    image = keras.Input((None, None, 4), name="image")
    network = keras.Model(image, keras.layers.Identity(name="same")(image))
    publish(tmp_path / "models", save_signatures(network, tmp_path / "saved"))
    photo, contents = Image.fromarray(photos[0]), []
    clear = photo.copy()
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    for picture, kind in ((photo, "JPEG"), (photo.convert("L"), "JPEG"), (photo, "PNG"), (clear, "PNG")):
        stream = io.BytesIO()
        picture.save(stream, kind)
        contents.append(stream.getvalue())
    wanted = [np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"), "int32") for content in contents]
    assert all(upright(content, 4).startswith(b"\x89PNG") for content in contents)
    with Server(tmp_path / "models", 0, 0) as server:
        stub = Stub(server)
        raw = stub.predict({"image_bytes": np.array(contents, object)}, "bytes")[0]["same_bytes"]
        stub.channel.close()
        with Client(f"http://127.0.0.1:{server.rest_port}", "tiny") as client:
            turned = client.translate(contents)
    for answer, pixels in zip([*raw, *turned], wanted * 2, strict=True):
        assert np.array_equal(decoded(answer), pixels)


def test_files_come_out_as_kerasgen_translate_gives_them(served, generators, photos, tmp_path):
    """Turned by EXIF, transparent, a palette with a hole, CMYK, gray, 16 bits: by the client and without it."""
    (tmp_path / "in").mkdir()
    photo = Image.fromarray(photos[0])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo.save(tmp_path / "in" / f"turned{orientation}.jpg", exif=exif)
        photo.save(tmp_path / "in" / f"turned_png{orientation}.png", exif=exif)
    clear = photo.copy()
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    clear.save(tmp_path / "in" / "clear.png")
    palette = photo.quantize(16)
    palette.save(tmp_path / "in" / "palette.png", transparency=3)
    photo.convert("CMYK").save(tmp_path / "in" / "cmyk.jpg")
    photo.convert("L").save(tmp_path / "in" / "gray.png")
    Image.fromarray(np.linspace(0, 65535, 24 * 32).reshape(24, 32).astype("uint16")).save(
        tmp_path / "in" / "deep.png"
    )
    translate_folder(generators[2], tmp_path / "in", tmp_path / "truth")
    paths = sorted((tmp_path / "in").iterdir())
    contents = [path.read_bytes() for path in paths]
    stub = Stub(served)
    raw = stub.predict({"image_bytes": np.array(contents, object)}, "bytes")[0]["generated_bytes"]
    stub.channel.close()
    with Client(f"http://127.0.0.1:{served.rest_port}", "tiny") as client:
        turned = client.translate(contents)
    for path, *answers in zip(paths, raw, turned, strict=True):
        with Image.open(tmp_path / "truth" / f"{path.stem}.png") as truth:
            wanted = np.asarray(truth, "int32")
        for answer in answers:
            found = decoded(answer)
            assert found.shape == wanted.shape, path
            assert np.abs(found - wanted).max() <= 1, path


def test_a_version_that_comes_slowly_is_loaded_once_it_is_complete(saved, tmp_path):
    publish(tmp_path, saved[1])
    said = []
    with Server(tmp_path, 0, 0, poll_seconds=0.1, say=said.append) as server:
        (tmp_path / "models.config").unlink()  # as a folder that somebody copies versions into
        slow, parts = tmp_path / "tiny" / "2", sorted(p for p in saved[2].rglob("*") if p.is_file())
        for i, part in enumerate(parts):
            target = slow / part.relative_to(saved[2])
            target.parent.mkdir(parents=True, exist_ok=True)
            content = part.read_bytes()
            target.write_bytes(content[: len(content) // 2])
            assert eventually(lambda: any("Version 2 of tiny can't be loaded" in line for line in said)) or i
            assert rest(server, "POST", PREDICT, GOOD)[0] == 200  # by version 1
            target.write_bytes(content)
        assert eventually(lambda: any(line.startswith("Loaded version 2 of tiny") for line in said)), said
        assert eventually(lambda: "Unloaded version 1 of tiny." in said), said


def test_a_program_that_writes_files_is_not_run_unless_it_is_trusted(saved, photos, tmp_path):
    """It would write as soon as it is warmed up; beside it a version that only computes is served."""
    target = tmp_path / "written"

    class Writing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")])
        def __call__(self, image):
            with tf.control_dependencies([tf.io.write_file(str(target), "here")]):
                return {"generated": tf.identity(image)}

    module = Writing()
    tf.saved_model.save(module, str(tmp_path / "program"), signatures=module.__call__)
    base, said = tmp_path / "models", []
    publish(base, tmp_path / "program", "program")
    with pytest.raises(UserError, match=r"version 1 of program: It holds WriteFile.* --trust"):
        Server(base, 0, 0)
    publish(base, saved[2])
    with Server(base, 0, 0, say=said.append) as server:
        assert rest(server, "POST", PREDICT, GOOD)[0] == 200
        assert rest(server, "GET", "/v1/models/program")[1]["model_version_status"][0]["state"] == "END"
    assert any("WriteFile" in line for line in said)
    assert not target.exists()
    with Server(base, 0, 0, trust=True) as server:
        assert rest(server, "POST", "/v1/models/program:predict", GOOD)[1]["predictions"] == GOOD["instances"]
    assert target.read_text() == "here"


def test_no_configuration_ends_the_watcher(saved, tmp_path):
    publish(tmp_path, saved[1])
    config, said = tmp_path / "models.config", []
    good = config.read_text()
    escape = good.replace("/models/tiny", "/models/..")
    with Server(tmp_path, 0, 0, poll_seconds=0.05, say=said.append) as server:
        for number, wrong in enumerate([b"\xff\xfe\x00", b"model_config_list {", escape.encode()]):
            config.write_bytes(wrong)
            assert eventually(lambda n=number: len([s for s in said if "stays as it was" in s]) == n + 1), said
            assert rest(server, "POST", PREDICT, GOOD)[0] == 200
        config.write_text(good)
        publish(tmp_path, saved[2])
        assert eventually(lambda: "Loaded version 2 of tiny" in " ".join(said)), said
    config.write_bytes(escape.encode())
    with pytest.raises(UserError, match=r"base_path '/models/\.\.'"):
        Server(tmp_path, 0, 0)


def test_impossible_ports_and_limits_are_sentences(kerasgen, saved, tmp_path):
    publish(tmp_path, saved[2])
    for option, value in (
        ("--rest-port", 99999),
        ("--grpc-port", -1),
        ("--megapixels", "nan"),
        ("--memory", 0),
    ):
        code, _, errors = kerasgen("serve", tmp_path, option, value)
        assert code == 2
        assert f"{option} is" in errors
        assert "Traceback" not in errors
    for url in ("http://[::1", "http://127.0.0.1:99999", "grpc://:8500"):
        with pytest.raises(UserError, match="give http://HOST:8501"):
            Client(url, "tiny")


def test_a_model_that_takes_no_picture_is_a_sentence(kerasgen, photos, tmp_path):
    z, label = keras.Input((4,), name="z"), keras.Input((3,), name="label")
    made = keras.layers.Dense(16, activation="tanh")(keras.layers.Concatenate()([z, label]))
    network = keras.Model({"z": z, "label": label}, keras.layers.Reshape((4, 4, 1), name="image")(made))
    publish(tmp_path / "models", save_signatures(network, tmp_path / "saved"), "dreams")
    (tmp_path / "in").mkdir()
    Image.fromarray(photos[0]).save(tmp_path / "in" / "a.png")
    with Server(tmp_path / "models", 0, 0) as server:
        options = ("--model", "dreams", "--output", tmp_path / "out")
        url = f"http://127.0.0.1:{server.rest_port}"
        code, _, errors = kerasgen("client", url, "translate", tmp_path / "in", *options)
        asked = {"signature_name": "generate", "inputs": {"seed": 1, "n": 5, "label": [[1, 0, 0]]}}
        answer = rest(server, "POST", "/v1/models/dreams:predict", asked)[1]
    assert code == 2
    assert "doesn't translate picture files (it has float, generate, serving_default)" in errors
    assert "Traceback" not in errors
    assert np.array(answer["outputs"]).shape == (5, 4, 4, 1)


@pytest.mark.slow
def test_sigterm_answers_what_runs(wide, tmp_path):
    publish(tmp_path, wide)
    process, answers = Process(tmp_path), []
    picture = np.zeros((1, 150, 150, 3), "uint8")
    with Client(f"grpc://127.0.0.1:{process.grpc}", "tiny", tries=1) as client:
        client.predict({"image": picture})
        asking = threading.Thread(target=lambda: answers.append(client.predict({"image": picture})))
        asking.start()
        time.sleep(0.1)
        process.process.send_signal(signal.SIGTERM)
        asking.join()
    assert process.process.wait(60) == 0
    process.end()
    assert process.said[-1] == "Stopped.\n"
    assert answers[0]["generated"].shape == picture.shape
