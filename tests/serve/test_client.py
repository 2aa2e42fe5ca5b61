"""The client by both protocols, from Python and from the command line, against the Keras network."""

import http.server
import threading

import numpy as np
import pytest
from PIL import Image

from kerasgen.commands.translate import translate_folder
from kerasgen.errors import UserError
from kerasgen.serve import Limits, Server
from kerasgen.serve.client import Client, ServerError

from .conftest import expected, publish


@pytest.fixture(params=["http", "grpc"])
def url(request, served):
    port = served.rest_port if request.param == "http" else served.grpc_port
    return f"{request.param}://127.0.0.1:{port}"


@pytest.fixture
def folder(photos, tmp_path):
    """Pictures of every kind that people have: a PNG, a JPEG on its side, a palette, transparency; and no picture."""
    where = tmp_path / "in"
    (where / "sub").mkdir(parents=True)
    pictures = [Image.fromarray(photo) for photo in photos]
    pictures[0].save(where / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures[1].resize((21, 33)).save(where / "sub" / "b.jpg", exif=exif)
    pictures[2].convert("P").save(where / "c.png")
    pictures[3].putalpha(100)
    pictures[3].save(where / "d.webp", lossless=True)
    (where / "e.png").write_bytes(b"no picture")
    return where


def test_arrays_and_files(url, generators, photos, files):
    with Client(url, "tiny", label="stable") as client:
        assert client.signatures()["bytes"]["inputs"] == {"image_bytes": {"shape": [None], "dtype": "string"}}
        found = client.predict({"image": photos})["generated"].astype("int32")
        assert np.abs(found - expected(generators[2], photos)).max() <= 1
        floats = client.predict({"image": photos[:1] / np.float32(255)}, "float")["generated"]
        np.testing.assert_allclose(floats, generators[2](photos[:1] / np.float32(255)), atol=1e-4)
        assert all(answer.startswith(b"\x89PNG") for answer in client.translate(files))


def test_a_folder_comes_out_as_kerasgen_translate_makes_it(kerasgen, url, generators, folder, tmp_path):
    with pytest.warns(UserWarning, match=r"1 of 5 files are left out; 1 unreadable: e\.png"):
        truth = translate_folder(generators[2], folder, tmp_path / "truth")
    options = ("--model", "tiny", "--output", tmp_path / "out", "--batch", 3)
    code, said, errors = kerasgen("client", url, "translate", folder, *options)
    assert code == 0, errors
    assert "4 pictures are in" in said
    assert "1 was skipped" in said
    for target in truth.written:
        ours = Image.open(tmp_path / "out" / target.relative_to(tmp_path / "truth"))
        difference = np.asarray(ours.convert("RGB"), "int32") - np.asarray(Image.open(target), "int32")
        assert np.abs(difference).max() <= 1


def test_one_picture_that_the_server_refuses_harms_no_other(served, photos, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(photos[0]).save(tmp_path / "in" / "a.png")
    Image.new("RGB", (5000, 4000)).save(tmp_path / "in" / "b.png")
    Image.fromarray(photos[1]).save(tmp_path / "in" / "c.png")
    with (
        Client(f"grpc://127.0.0.1:{served.grpc_port}", "tiny") as client,
        pytest.warns(UserWarning, match=r"b\.png is skipped: .*5000×4000"),
    ):
        result = client.translate_folder(tmp_path / "in", tmp_path / "out")
    assert [p.name for p in result.written] == ["a.png", "c.png"]
    assert [p.name for p in result.skipped] == ["b.png"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_batch_that_is_too_large_goes_in_parts(protocol, saved, tmp_path):
    """Each picture fits what the server takes, and four together don't."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (4, 500, 500, 3), np.uint8)
    for i, picture in enumerate(noise):
        Image.fromarray(picture).save(tmp_path / "in" / f"{i}.png")
    publish(tmp_path / "models", saved[2])
    with Server(tmp_path / "models", 0, 0, limits=Limits(bytes=1_200_000)) as server:
        port = server.rest_port if protocol == "http" else server.grpc_port
        with Client(f"{protocol}://127.0.0.1:{port}", "tiny") as client:
            result = client.translate_folder(tmp_path / "in", tmp_path / "out", batch=4)
    assert [path.name for path in result.written] == [f"{i}.png" for i in range(4)]


def test_an_answer_has_the_types_that_the_signature_says(url, photos):
    with Client(url, "tiny") as client:
        for signature, given in (("serving_default", photos), ("float", photos / np.float32(255))):
            found = client.predict({"image": given}, signature)
            declared = client.signatures()[signature]["outputs"]
            assert {name: value.dtype.name for name, value in found.items()} == {
                name: info["dtype"] for name, info in declared.items()
            }


def test_mistakes_are_sentences(kerasgen, url, folder, tmp_path):
    for wrong in ("127.0.0.1:8501", "ftp://127.0.0.1:1", "http://127.0.0.1"):
        with pytest.raises(UserError, match="give http://HOST:8501 or grpc://HOST:8500"):
            Client(wrong, "tiny")
    with pytest.raises(UserError, match="leave one out"):
        Client(url, "tiny", version=1, label="stable")
    for unknown in ("größe", "my model", "a/b"):
        with Client(url, unknown) as client, pytest.raises(ServerError, match="refused the request"):
            client.signatures()
    with Client(url, "tiny") as client, pytest.raises(ServerError, match="takes image"):
        client.predict({"picture": np.zeros((1, 4, 4, 3), "uint8")})
    code, _, errors = kerasgen("client", url, "translate", folder, "--model", "other", "--output", tmp_path / "out")
    assert code == 2
    assert "There is no model 'other'" in errors
    assert "Traceback" not in errors


def test_it_comes_back_after_a_busy_server_and_gives_up_on_none(served):
    """A server that says 503 twice, then what a real one says."""
    seen = []

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(503 if len(seen) < 3 else 404)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Client(f"http://127.0.0.1:{server.server_port}", "net") as client, pytest.raises(ServerError) as told:
            client.signatures()
        server.shutdown()
        thread.join()
    assert told.value.refused
    assert len(seen) == 3
    for scheme in ("http", "grpc"):
        with (
            Client(f"{scheme}://127.0.0.1:1", "net", tries=2) as client,
            pytest.raises(ServerError, match="no answer in 2 tries"),
        ):
            client.signatures()
