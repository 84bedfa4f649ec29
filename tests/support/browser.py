"""A headless Chromium for tests of the page: Debian's, by its own driver; nothing is downloaded."""

import json
import shutil
from collections.abc import Callable
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
LACKING = "" if CHROMIUM and DRIVER else "chromium is not here: apt-get install chromium chromium-driver"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


class Browser:
    """One window.  ``requests``: every URL that it asked for since the start."""

    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.set_page_load_timeout(30)
        self.size(1400, 2000)
        self._events: list[dict[str, Any]] = []

    def close(self):
        self.driver.quit()

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css="body"):
        return "\n".join(self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", css))

    def until(self, seen: Callable[[], Any], what: str, timeout_s=15):
        """The first true answer of ``seen``; ``what``: said if none comes."""
        wait = WebDriverWait(self.driver, timeout_s, 0.05, ignored_exceptions=[StaleElementReferenceException])
        try:
            return wait.until(lambda _: seen())
        except TimeoutException:
            raise AssertionError(f"{what} within {timeout_s} s; the page says:\n{self.text()[:2000]}") from None

    def until_text(self, text, css="body", timeout_s=15):
        self.until(lambda: text in self.text(css), f"{text!r} is not there", timeout_s)

    def click(self, css):
        self.until(lambda: self.find(css), f"{css} is not there")[0].click()

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def size(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.cdp("Emulation.setDeviceMetricsOverride", **metrics)

    def scheme(self, value):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    @property
    def events(self):
        """Network events of the DevTools protocol since the start."""
        logged = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        self._events += [event for event in logged if event["method"].startswith("Network.")]
        return self._events

    @property
    def requests(self):
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self):
        """What the console says of errors: scripts that failed, policies that were broken."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
