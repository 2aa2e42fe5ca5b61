"""The demo in a real browser: its pictures are the model's own, and nothing comes from outside."""

import io
import re
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from sklearn.datasets import load_sample_image

from kerasgen.commands.player import Player
from kerasgen.drawing import grid
from kerasgen.errors import UserError
from kerasgen.models import VAE, CycleGAN, Registration
from kerasgen.runs import save_model
from tests.browser import Browser, browser

pytestmark = pytest.mark.slow
WAIT = 120  # seconds until a condition that never comes fails the test


class Demo:
    """The demo of a model in a browser."""

    def __init__(self, shown: Browser, address: str):
        self.shown, self.address = shown, address
        shown.requests()  # of the page before
        shown.open(address, 1280)

    def find(self, path: str):
        return WebDriverWait(self.shown.driver, WAIT).until(
            lambda driver: next((e for e in driver.find_elements(By.XPATH, path) if e.is_displayed()), None)
        )

    def press(self, button: str) -> None:
        self.find(f"//button[contains(@class, 'primary')][normalize-space()='{button}']").click()

    def type(self, control: str, text: str) -> None:
        field = self.find(f"//input[@aria-label='{control}']")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)

    def picture(self, name: str) -> np.ndarray:
        """Return the picture of that name, once it is there."""
        source = self.find(f"//*[@id='{name}']//img").get_attribute("src")
        assert source.startswith(self.address)
        with urllib.request.urlopen(source) as answer:
            return np.asarray(Image.open(io.BytesIO(answer.read())))

    def asked_elsewhere(self) -> list[str]:
        return [url for url in self.shown.requests() if not url.startswith(self.address)]


@pytest.fixture(scope="module")
def shown():
    with browser() as opened:
        yield opened


@contextmanager
def demo_of(run, shown):
    """The command, as a user runs it."""
    command = [sys.executable, "-m", "kerasgen.cli", "demo", run, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            yield Demo(shown, re.search(r"http://127\.0\.0\.1:\d+", said)[0])
        finally:
            process.terminate()


def test_a_dropped_picture_is_translated(shown, tmp_path):
    picture = load_sample_image("flower.jpg")[100:164, 200:290]
    Image.fromarray(picture).save(tmp_path / "flower.png")
    model = CycleGAN.from_preset("cyclegan_photo_dusk")
    expected = np.round(127.5 * (model.translate(picture / np.float32(127.5) - 1, "a2b") + 1))
    with demo_of("cyclegan_photo_dusk", shown) as demo:
        demo.find("//*[@id='given']")
        shown.driver.find_element(By.XPATH, "//input[@type='file']").send_keys(str(tmp_path / "flower.png"))
        np.testing.assert_array_equal(demo.picture("given"), picture)
        demo.press("Translate")
        translated = demo.picture("translation")
        assert demo.asked_elsewhere() == []
    assert np.abs(translated - expected).max() <= 1
    assert np.abs(translated - picture.astype(float)).mean() > 10


def test_pictures_are_generated_by_label_and_seed(shown):
    with demo_of("vae_digits", shown) as demo:
        demo.type("Seed", "3")
        demo.type("Label", "7")
        demo.press("Generate")
        generated = demo.picture("generated")
        assert demo.asked_elsewhere() == []
    expected = VAE.from_preset("vae_digits").generate(36, labels=7, seed=3)
    np.testing.assert_array_equal(generated, grid(expected))


@pytest.fixture(scope="module")
def digits_player():
    return Player("vae_digits"), VAE.from_preset("vae_digits")


def test_latents_and_interpolation_are_the_models(digits_player):
    player, model = digits_player
    z = np.linspace(-2, 2, model.latent_dim, dtype=np.float32)
    np.testing.assert_array_equal(player.decode(4, *z.tolist()), grid(model.decode(z[None], [4])))
    first, last = model.generate(2, labels=5, seed=9)
    way = model.interpolate(first, last, 4, labels=5)
    np.testing.assert_array_equal(player.interpolate(None, None, 4, 9, 5), grid(way, columns=4))


def test_a_fitted_sampler_and_the_temperature_count(digits_player):
    player, _ = digits_player
    asked = [("prior", 1.0), ("prior", 0.2), ("class_gaussian", 0.2)]
    made = {player.generate(4, 0, sampler, temperature, 3).tobytes() for sampler, temperature in asked}
    assert len(made) == 3


def test_mistakes_are_one_sentence(digits_player, kerasgen, tmp_path):
    with pytest.raises(UserError, match="There is no picture yet"):
        Player("cyclegan_digits_ink").translate(None)
    save_model(Registration(filters=(4, 4)), tmp_path / "pairs.keras")
    with pytest.raises(UserError, match=r"holds a Registration, which neither translates nor generates"):
        Player(tmp_path / "pairs.keras")
    code, _, error = kerasgen("demo", "vae_digits", "--port", "70000")
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("Error: --port is 70000")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, error = kerasgen("demo", "vae_digits", "--port", port)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(f"Error: Port {port} can't be had")
