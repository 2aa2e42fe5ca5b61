"""A plain file server, and a page as a user has it before them."""

import base64
import functools
import http.server
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

_WAIT = 120  # seconds that a busy machine may take; nothing is asserted of it
_DROP = """
const [content, name, type] = arguments;
const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, {type}));
document.getElementById("time").textContent = "–";
const target = document.getElementById("drop");
target.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
"""
_PIXELS = """
const canvas = arguments[0];
const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
return [width, height, btoa(Array.from(data, (v) => String.fromCharCode(v)).join(""))];
"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder's files, and nothing else; gives the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Shown:
    """The page that a browser shows.

    Args:
        chrome: the browser.
        url: is opened.
    """

    def __init__(self, chrome: webdriver.Chrome, url: str):
        self.chrome = chrome
        chrome.get_log("browser")  # of the page before
        chrome.get(url)
        self.settle()

    def __getitem__(self, id: str):
        return self.chrome.find_element(By.ID, id)

    def wait(self, until) -> None:
        WebDriverWait(self.chrome, _WAIT, 0.05).until(lambda _: until())

    def settle(self) -> None:
        """Wait until a runtime is ready, or there is a problem."""
        self.wait(lambda: self["status"].text.startswith("Ready") or self.problem)

    @property
    def problem(self) -> str:
        return self["problem"].text

    def runs_by(self, runtime: str) -> None:
        Select(self["runtime"]).select_by_value(runtime)
        self.settle()
        assert not self.problem
        assert self["runtime"].get_attribute("value") == runtime

    def drop(self, content: bytes, name: str = "picture.png", type: str = "image/png") -> None:
        """Drop a file, and wait for what becomes of it."""
        self.chrome.execute_script(_DROP, base64.b64encode(content).decode(), name, type)
        self.wait(lambda: self["time"].text.endswith("ms") or self.problem)

    def pixels(self, canvas) -> np.ndarray:
        """Return what a canvas shows: uint8 [height, width, 4]."""
        element = self[canvas] if isinstance(canvas, str) else canvas
        width, height, content = self.chrome.execute_script(_PIXELS, element)
        return np.frombuffer(base64.b64decode(content), np.uint8).reshape(height, width, 4)

    def gallery(self) -> np.ndarray:
        """Return the gallery's pictures: uint8 [n, height, width, 4]."""
        self.wait(lambda: self["gallery-time"].text)
        return np.stack([self.pixels(c) for c in self.chrome.find_elements(By.CSS_SELECTOR, "#gallery canvas")])


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
