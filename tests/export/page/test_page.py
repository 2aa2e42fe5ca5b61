"""The page in a real browser: equal to Keras, nothing from outside, and of use to a person."""

import io
import itertools
import json
import math
import re
import shutil
from importlib import resources

import keras
import numpy as np
import pytest
from PIL import Image, ImageOps
from selenium.webdriver import ActionChains, Keys
from sklearn.datasets import load_sample_image

from kerasgen.commands.page import export_page
from kerasgen.errors import UserError
from kerasgen.export.page import Page, kind_of, write_page
from kerasgen.export.page.runtimes import PACKAGES, cache_folder, checked_tarball
from kerasgen.models import VAE, PairedTranslator
from kerasgen.networks.resnet import resnet_generator
from tests.browser import chromium

from .browser import Shown, png, served

pytestmark = pytest.mark.slow
SIDE = 32


@pytest.fixture(scope="module")
def generator() -> keras.Model:
    """A separable generator whose pictures are far from flat."""
    keras.utils.set_random_seed(0)
    network = resnet_generator(filters=8, blocks=1, downsamplings=1, stem_kernel=3, separable=True)
    head = network.get_layer("head_conv")
    head.set_weights([weights * 12 for weights in head.get_weights()])
    return network


@pytest.fixture(scope="module")
def folder(generator, tmp_path_factory):
    """The page of the generator."""
    place = tmp_path_factory.mktemp("page")
    generator.save(place / "sketches.keras")
    return export_page(place / "sketches.keras", place / "page", size=SIDE, value_range=(-1.0, 1.0))


@pytest.fixture(scope="module")
def chrome():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(folder):
    with served(folder) as address:
        yield address


@pytest.fixture
def page(chrome, url):
    return Shown(chrome, url)


def translated(generator: keras.Model, picture: np.ndarray) -> np.ndarray:
    output = np.asarray(generator(picture[None].astype("float32") / 127.5 - 1))[0]
    return np.round((np.clip(output, -1, 1) + 1) * 127.5)


def golden_picture() -> np.ndarray:
    places = np.arange(SIDE * SIDE * 3, dtype=np.uint64)
    return (places * np.uint64(2654435761) % np.uint64(2**32) >> np.uint64(24)).astype("uint8").reshape(SIDE, SIDE, 3)


def photo(width: int, height: int) -> Image.Image:
    return Image.fromarray(load_sample_image("flower.jpg")).crop((100, 20, 100 + width, 20 + height))


def fitted(picture: Image.Image) -> np.ndarray:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    cut = picture.crop((left, top, left + side, top + side))
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(int)


@pytest.mark.parametrize("runtime", ["onnx", "tflite"])
def test_a_dropped_picture_is_translated_as_by_keras(page, generator, runtime):
    page.runs_by(runtime)
    picture = golden_picture()
    page.drop(png(picture))
    np.testing.assert_array_equal(page.pixels("input")[..., :3], picture)
    expected = translated(generator, picture)
    assert expected.std() > 20
    assert np.abs(page.pixels("output")[..., :3] - expected).max() <= 1


def test_a_picture_of_another_size_is_cut_and_resized_as_by_pillow(page, generator):
    picture = photo(171, 90)
    page.drop(png(np.asarray(picture)))
    seen = page.pixels("input")[..., :3]
    assert np.abs(seen - fitted(picture)).max() <= 1
    assert np.abs(page.pixels("output")[..., :3] - translated(generator, seen)).max() <= 1


def test_a_turned_jpeg_is_upright(page):
    turned, exif, file = photo(160, 120), Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # held so that its top is at the right
    turned.save(file, "JPEG", quality=97, subsampling=0, exif=exif)
    with Image.open(io.BytesIO(file.getvalue())) as stored:
        upright, sideways = fitted(ImageOps.exif_transpose(stored)), fitted(stored.copy())
    page.drop(file.getvalue(), "phone.jpg", "image/jpeg")
    seen = page.pixels("input")[..., :3]
    assert np.abs(seen - upright).mean() < 1
    assert np.abs(seen - sideways).mean() > 10


def test_what_is_no_picture_is_a_sentence(page):
    page.drop(b"no picture", "notes.png")
    assert page.problem == "notes.png is not a picture that this browser reads: choose a PNG or a JPEG."


def test_a_drawing_is_translated(page, generator):
    page["draw"].click()
    paper = page["paper"]
    ActionChains(page.chrome).move_to_element(paper).click_and_hold().move_by_offset(60, 40).release().perform()
    page.wait(lambda: page["time"].text.endswith("ms"))
    drawn = page.pixels("input")[..., :3]
    assert drawn.min() < 100  # ink
    assert np.median(drawn) == 255  # on white paper
    assert np.abs(page.pixels("output")[..., :3] - translated(generator, drawn)).max() <= 1


def test_the_keyboard_draws(page):
    page["draw"].click()
    page.chrome.switch_to.active_element.send_keys(Keys.SPACE, *[Keys.ARROW_RIGHT] * 12, Keys.SPACE)
    page.wait(lambda: page["time"].text.endswith("ms"))
    dark = page.pixels("input")[..., 0] < 200  # the line lies between two rows, half in each
    assert 8 <= dark.sum() <= 32  # a short level line from the middle
    assert dark[:, : SIDE // 2 - 2].sum() == 0


def test_the_camera_takes_a_picture(page):
    page["camera"].click()
    page.wait(lambda: page.chrome.execute_script("return document.getElementById('video').videoWidth"))
    page["shoot"].click()
    page.wait(lambda: page["time"].text.endswith("ms"))
    assert page.pixels("input")[..., :3].std() > 10
    page["camera-off"].click()
    assert not page["video"].is_displayed()


def test_nothing_comes_from_outside(page):
    page.runs_by("onnx")
    page.drop(png(golden_picture()))
    origin = page.chrome.execute_script("return location.origin")
    loaded = page.chrome.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert len(loaded) > 10
    assert all(url.startswith((f"{origin}/", f"blob:{origin}/", "data:")) for url in loaded)
    said = [entry["message"] for entry in page.chrome.get_log("browser")]
    assert not [text for text in said if "Content Security Policy" in text]
    # Another port of this machine is another origin, and could be reached.
    with served(resources.files("kerasgen.export.page") / "static") as other:
        ask = "fetch(arguments[0]).then(() => 'reached', () => 'refused').then(arguments[1])"
        assert page.chrome.execute_async_script(ask, other) == "refused"
    said = [entry["message"] for entry in page.chrome.get_log("browser")]
    assert any("Content Security Policy" in text for text in said)


def test_it_works_without_its_server(chrome, folder, generator):
    with served(folder) as url:
        page = Shown(chrome, url)
        page.wait(lambda: chrome.execute_script("return document.documentElement.dataset.kept"))
    page = Shown(chrome, url)
    page.drop(png(golden_picture()))
    assert np.abs(page.pixels("output")[..., :3] - translated(generator, golden_picture())).max() <= 1


def damaged(folder, place, change):
    """A copy of the page whose content or models are changed by `change(folder, content)`."""
    shutil.copytree(folder, place)
    content = json.loads((place / "page.json").read_text())
    change(place, content["networks"][0]["files"])
    (place / "page.json").write_text(json.dumps(content))
    return place


def cut_short(place, files):
    model = place / files["tflite"]["path"]
    model.write_bytes(model.read_bytes()[:-100])


def another_format(place, files):
    files["tflite"] = files["onnx"]


def another_model(place, files):
    for output in files["tflite"]["golden"]["outputs"].values():
        output["values"] = [(value + 128) % 256 for value in output["values"]]


def missing(place, files):
    (place / files["tflite"]["path"]).unlink()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (cut_short, "models/sketches.tflite is damaged, for its bytes are not those of the export"),
        (another_format, r"models/sketches.onnx doesn't run by LiteRT, processor \(.+\): export the page again"),
        (another_model, r"doesn't run by LiteRT, processor \(it is \d+ levels from Keras on the golden input\)"),
        (missing, "models/sketches.tflite is missing from this page's folder: copy the whole folder"),
    ],
)
def test_a_broken_model_is_a_sentence(chrome, folder, tmp_path, change, sentence):
    with served(damaged(folder, tmp_path / "page", change)) as url:
        page = Shown(chrome, url)
        assert page.problem
        assert not page["status"].text
        assert re.search(sentence, page.problem)


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_phone_and_a_screen(page, width):
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    page.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page["draw"].click()
        assert page.chrome.execute_script("return innerWidth") == width
        assert page.chrome.execute_script("return document.documentElement.scrollWidth") <= width
        buttons = page.chrome.execute_script(
            "return [...document.querySelectorAll('button')].filter((b) => b.offsetParent).map((b) => b.offsetHeight)"
        )
        assert min(buttons) >= 44  # what a finger needs
    finally:
        page.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def normals(seed: int, count: int) -> np.ndarray:
    """The mulberry32 generator in Python's unbounded integers, and Box and Muller's method."""

    def uniform():
        for step in itertools.count(1):
            x = (seed + step * 0x6D2B79F5) % 2**32
            y = (x ^ (x >> 15)) * (x | 1) % 2**32
            y ^= (y + (y ^ (y >> 7)) * (y | 61)) % 2**32
            yield (y ^ (y >> 14)) / 2**32

    draws, values = uniform(), []
    while len(values) < count:
        radius, angle = math.sqrt(-2 * math.log(1 - next(draws))), 2 * math.pi * next(draws)
        values += [radius * math.cos(angle), radius * math.sin(angle)]
    return np.asarray(values[:count], "float32")


def test_a_gallery_of_digits(kerasgen, chrome, tmp_path):
    code, said, errors = kerasgen("export", "vae_digits", "--page", tmp_path / "page")
    assert code == 0, errors
    assert "http.server" in said
    with served(tmp_path / "page") as url:
        page = Shown(chrome, url)
        assert page["title"].text == "vae_digits"
        vae = VAE.from_preset("vae_digits")
        z, classes = normals(0, 16 * 12).reshape(16, 12), np.eye(10, dtype="float32")[np.arange(16) % 10]
        expected = np.round(np.asarray(vae.decoder({"z": z, "label": classes})) * 255)
        first = page.gallery()
        assert np.abs(first[..., :1] - expected).max() <= 1
        page["next"].send_keys(Keys.ENTER)
        page.wait(lambda: (page.gallery() != first).any())
        assert page["seed"].get_attribute("value") == "1"
        assert "CC BY 4.0" in page["facts"].get_attribute("textContent")


def test_a_drawn_sketch_is_colored(kerasgen, chrome, tmp_path):
    """The preset for it, told a skin tone: the page and its files take the drawing alone."""
    told = ("--condition", "tone=dark")
    code, _, errors = kerasgen("export", "sketch_to_emoji", "--page", tmp_path / "page", *told)
    assert code == 0, errors
    with served(tmp_path / "page") as url:
        page = Shown(chrome, url)
        page["draw"].click()
        paper = ActionChains(chrome).move_to_element(page["paper"]).click_and_hold()
        for step in ((60, 0), (0, 60), (-60, 0), (0, -60)):
            paper.move_by_offset(*step)
        paper.release().perform()
        page.wait(lambda: page["time"].text.endswith("ms"))
        drawn, colored = page.pixels("input")[..., :3], page.pixels("output")[..., :3]
    assert drawn.shape == colored.shape == (64, 64, 3)
    dark = np.tile(np.float32([1.0, 1.0]), (64, 64, 1))
    given = np.concatenate([drawn / np.float32(127.5) - 1, dark], axis=-1)
    expected = np.round((PairedTranslator.from_preset("sketch_to_emoji").translate(given) + 1) * 127.5)
    assert np.abs(colored - expected).max() <= 1
    assert np.ptp(expected, axis=-1).max() > 20  # there is color
    file = tmp_path / "page" / "models" / "generator_a2b.tflite"
    code, said, errors = kerasgen("verify", file, "--against", "sketch_to_emoji", *told)
    assert code == 0, errors
    assert "--condition tone=dark" in said
    code, _, errors = kerasgen("verify", file, "--against", "sketch_to_emoji")
    assert code == 2
    assert "takes 3 channels, but the network of sketch_to_emoji takes 5: give the --condition" in errors


def test_a_folder_with_other_things_is_left_alone(folder, tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other things than a page: give a folder that is new or empty"):
        write_page(tmp_path, Page("title"), lambda place: [])
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_without_a_network_for_it_nothing_is_written(folder, tmp_path):
    with pytest.raises(UserError, match=r"None of the model's networks fits a page"):
        write_page(tmp_path / "page", Page("title"), lambda place: [])
    assert not any(tmp_path.iterdir())


def test_runtimes_of_other_bytes_are_refused(folder, tmp_path, monkeypatch):
    """The cache is looked at anew, and a stranger's npm is not believed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    package = PACKAGES[2]
    with pytest.raises(UserError, match=r"there is no npm to fetch it: install Node\.js with npm"):
        checked_tarball(package)
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\necho other > {package.tarball}\n")
    npm.chmod(0o755)
    with pytest.raises(UserError, match=r"npm gave a litertjs-wasm-utils-2\.5\.3\.tgz of other bytes"):
        checked_tarball(package)
    npm.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UserError, match="but npm didn't fetch it"):
        checked_tarball(package)
    kept = cache_folder() / package.tarball
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"damaged")
    with pytest.raises(UserError, match="but npm didn't fetch it"):
        checked_tarball(package)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_class_numbers_are_none_for_a_page(dtype):
    """The page says a class by a vector of ones and zeros."""
    inputs = {"z": {"shape": [None, 8], "dtype": "float32"}, "label": {"shape": [None, 1], "dtype": dtype}}
    outputs = {"picture": {"shape": [None, 16, 16, 3], "dtype": "uint8"}}
    assert kind_of(inputs, outputs) == ("generate" if dtype == "float32" else None)


def test_a_page_of_a_file_of_any_size(kerasgen, tmp_path):
    """Without a range it is a mistake that has a remedy, and with one its pictures have 256 pixels."""
    image = keras.Input((None, None, 3), name="image")
    keras.Model(image, keras.layers.Conv2D(3, 1, name="shades")(image)).save(tmp_path / "toy.keras")
    code, _, err = kerasgen("export", tmp_path / "toy.keras", "--page", tmp_path / "page")
    assert code == 2
    assert "nothing says its pictures' range: --range=LOW,HIGH says it" in err
    code, _, err = kerasgen("export", tmp_path / "toy.keras", "--page", tmp_path / "page", "--range=-1,1")
    assert code == 0, err
    (network,) = json.loads((tmp_path / "page" / "page.json").read_text())["networks"]
    assert network["inputs"]["image"]["shape"] == [1, 256, 256, 3]
    options = ("--format", "tflite", "--range=-1,1", "--output", tmp_path / "artifacts")
    code, said, err = kerasgen("export", tmp_path / "toy.keras", *options)
    assert code == 0, err
    assert "TFLite takes one, here about 64 pixels: --size says it" in said
