"""The page at the server's `/`, in a browser: its pictures are the model's, and its server is all that it asks."""

import http.client
import json
from urllib.parse import urlsplit

import keras
import numpy as np
import pytest

from kerasgen.export import ImageSpec
from kerasgen.export.contract.inputs import network_and_inputs
from kerasgen.export.contract.served import served_signatures
from kerasgen.export.formats.saved_model import save, traced
from kerasgen.serve import Server
from tests.browser import chromium
from tests.export.page.browser import Shown

from .conftest import expected, png, publish

LATENT = 4


def decoder() -> keras.Model:
    """From a latent and a class to a picture whose first pixel tells the class."""
    z, label = keras.Input((LATENT,), name="z"), keras.Input((3,), name="label")
    told = keras.layers.Concatenate()([label, z])
    dense = keras.layers.Dense(8 * 8, activation="sigmoid", name="pixels")
    model = keras.Model([z, label], keras.layers.Reshape((8, 8, 1), name="generated")(dense(told)), name="decoder")
    kernel = np.random.default_rng(0).normal(size=(3 + LATENT, 64)).astype("float32")
    kernel[:, 0] = [-9, 0, 9, 0, 0, 0, 0]
    dense.set_weights([kernel, np.zeros(64, "float32")])
    return model


@pytest.fixture(scope="module")
def server(saved, tmp_path_factory):
    base, place = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("decoder")
    publish(base, saved[2], number=2)
    image = ImageSpec(value_range=(0.0, 1.0))
    network, _ = network_and_inputs(decoder(), None, image)
    save(place / "saved", {name: traced(s) for name, s in served_signatures(network, image, {}).items()})
    publish(base, place / "saved", name="decoder", number=1)
    with Server(base, 0, 0) as server:
        yield server


def got(server, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, response.headers["Content-Type"], response.read()
    connection.close()
    return found


def test_the_page_knows_what_is_served(server):
    status, kind, content = got(server, "/page.json")
    assert (status, kind) == (200, "application/json")
    page = json.loads(content)
    assert page["facts"] == {"decoder": "version 1", "tiny": "version 2"}
    assert [(n["name"], n["kind"]) for n in page["networks"]] == [("decoder", "generate"), ("tiny", "translate")]
    assert page["networks"][1]["inputs"] == {"image": {"shape": [None, None, None, 3]}}
    assert page["networks"][0]["files"]["rest"]["inputs"] == {"z": "float32", "label": "float32"}


def test_other_paths_are_not_files(server):
    for path in ("/nothing.js", "/../rest_api.py", "/static/page.js", "/page.json/", "//page.json"):
        status, _, content = got(server, path)
        assert status == 404
        assert b"/ a page to try it" in content


@pytest.mark.slow
def test_a_picture_and_a_gallery_are_the_models_own(server, generators, photos):
    with chromium() as chrome:
        page = Shown(chrome, f"http://127.0.0.1:{server.rest_port}/")
        assert not page.problem
        numbers = page.gallery()
        assert numbers.shape == (16, 8, 8, 4)
        # A class each in turn, which the first pixel tells.
        assert (
            numbers[:6, 0, 0, 0].tolist() == [0, 128, 255] * 2 or numbers[:6, 0, 0, 0].tolist() == [0, 127, 255] * 2
        )
        assert len(np.unique(numbers[::3, 3:].reshape(6, -1), axis=0)) == 6

        chrome.execute_script("const s = document.getElementById('network'); s.value = 'tiny'; s.onchange();")
        page.wait(lambda: page["translate"].is_displayed() and page["status"].text.startswith("Ready"))
        page.drop(png(photos[0]))
        assert not page.problem
        shown = page.pixels("input")[None, ..., :3]
        assert shown.std() > 10
        off = np.abs(page.pixels("output")[..., :3].astype(int) - expected(generators[2], shown)[0])
        assert off.max() <= 1

        asked = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
        outside = [
            url for url in urls if urlsplit(url).scheme.startswith("http") and urlsplit(url).port != server.rest_port
        ]
        assert not outside
        assert any(url.endswith("/v1/models/tiny:predict") for url in urls)


def test_a_model_of_numbers_alone_is_said_to_be_nothing_to_show(tmp_path):
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(2, name="y")(inputs))
    network, _ = network_and_inputs(model, None, None)
    save(tmp_path / "saved", {"serving_default": traced(network)})
    publish(tmp_path / "models", tmp_path / "saved", name="numbers", number=1)
    with Server(tmp_path / "models", 0, 0) as server:
        page = json.loads(got(server, "/page.json")[2])
    assert page["networks"] == []
    assert "None makes pictures" in page["description"]
