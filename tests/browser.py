"""Pages in a real Chromium: opened from disk, in any width and light, with the rules of axe.

Chromium and its driver are Debian's; axe-core lies in ``.venv/axe``, where .ci/install-test-deps
puts it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

AXE = Path(__file__).parents[1] / ".venv" / "axe" / "axe_playwright_python" / "axe.min.js"

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
_KEYS = {
    "Enter": Keys.ENTER,
    "Escape": Keys.ESCAPE,
    "ArrowDown": Keys.ARROW_DOWN,
    "ArrowUp": Keys.ARROW_UP,
    "ArrowLeft": Keys.ARROW_LEFT,
    "ArrowRight": Keys.ARROW_RIGHT,
}
_SHOWN = (
    "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())"
)
_TOO_WIDE = """
if (document.documentElement.scrollWidth <= window.innerWidth) return [];
return [...document.querySelectorAll("main *")]
  .filter((one) => one.getBoundingClientRect().right > window.innerWidth && !one.closest(".scroll"))
  .map((one) => one.outerHTML.slice(0, 90)).slice(0, 5);
"""
_VIOLATIONS = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations.map(
  (one) => [one.id, ...one.nodes.slice(0, 3).map((node) => node.html.slice(0, 90))].join(" | "))));
"""


class Browser:
    """One Chromium with one window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(
        self, address: str, *, width: int = 1440, height: int = 1000, dark: bool = False
    ) -> None:
        """Open a page anew, as on a screen of this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.driver.get("about:blank")  # the same page with another place is not loaded again
        self.seen()
        self.driver.get(address)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script: str, *given: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *given)

    def seen(self) -> tuple[list[str], list[str]]:
        """The requests and the complaints since this was last asked."""
        requests = []
        for line in self._log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                requests.append(message["params"]["request"]["url"])
        return requests, [line["message"] for line in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return lines

    def find(self, selector: str) -> WebElement:
        """The first element that is so."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector: str) -> list[WebElement]:
        """The elements that are so, and are shown."""
        found: list[WebElement] = self.run(_SHOWN, selector)
        return found

    def press(self, *names: str) -> None:
        """Press keys, one after the other."""
        for name in names:
            self.driver.switch_to.active_element.send_keys(_KEYS.get(name, name))

    def focused(self) -> str:
        """The address of the link that has the focus, or what else has it."""
        return str(
            self.run("const a = document.activeElement; return a.getAttribute('href') || a.id")
        )

    def violations(self) -> list[str]:
        """What axe finds amiss."""
        self.run(AXE.read_text(encoding="utf-8"))
        found: list[str] = self.driver.execute_async_script(_VIOLATIONS)
        return found

    def overflowing(self) -> list[str]:
        """What makes the page wider than its window."""
        found: list[str] = self.run(_TOO_WIDE)
        return found


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A Chromium that keeps its things in this folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(
        shutil.which("chromedriver"), env=dict(os.environ, HOME=str(profile))
    )
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
