"""Debian's Chromium without a window, which writes down what a page asks for and complains of."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Start a browser that finds no host but this machine, and whose camera shows a test picture."""
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    assert driver, "Tests of pages need a browser: apt-get install -y chromium chromium-driver."
    assert program, "Tests of pages need a browser: apt-get install -y chromium chromium-driver."
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "headless=new",
        "no-sandbox",  # tests run as root in containers
        "disable-dev-shm-usage",
        "disable-background-networking",
        "window-size=1280,900",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "use-fake-device-for-media-stream",
        "use-fake-ui-for-media-stream",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


class Browser:
    """A page in Chromium.

    Attributes:
        driver: Selenium's.
    """

    def __init__(self, driver: webdriver.Chrome):
        self.driver = driver

    def open(self, url: str, width: int) -> None:
        """Show a page in a window of so many pixels."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(url)

    def run(self, script: str) -> object:
        """Return what a function's body in JavaScript returns."""
        return self.driver.execute_script(script)

    def complaints(self) -> list[str]:
        """Return what was written to the console since the last call, such as what the page's policy refused."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call, other than those of data within the page."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:"))]


@contextmanager
def browser() -> Iterator[Browser]:
    """Give a browser that nothing but its pages makes ask for anything."""
    with chromium() as chrome:
        yield Browser(chrome)
