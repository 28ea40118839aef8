"""Chromium without a window, for tests of pages: `NEEDS_BROWSER` marks them, `started` is what a fixture yields."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--autoplay-policy=no-user-gesture-required")
NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()),
                       reason=f"needs {CHROMIUM} and {DRIVER} (apt-get install chromium chromium-driver)"),
]


@contextmanager
def started(profile: Path) -> Iterator[Any]:
    """A browser with a new profile, and with logs of its console and its requests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install -e .[dev])")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Waits for what a browser does in its own time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def set_width(browser: Any, width: int) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})


def requests(browser: Any) -> list[str]:
    """What it asked the network for so far."""
    return [entry["message"] for entry in browser.get_log("performance")
            if '"Network.requestWillBeSent"' in entry["message"] and '"url":"http' in entry["message"]]


def set_scheme(browser: Any, name: str) -> None:
    """`light` or `dark`, as the user's system would say."""
    feature = {"name": "prefers-color-scheme", "value": name}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
