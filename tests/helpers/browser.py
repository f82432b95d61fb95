"""A headless Chromium that opens pages at a width and in a color scheme, and reads them.

It is driven by the DevTools protocol over a pipe, so that tests need no package for it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
HEIGHT = 900
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
# A browser reads its commands from descriptor 3 and writes to 4, whatever numbers ours have.
EXEC = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4)\n"
EXEC += "os.execv(sys.argv[3], sys.argv[3:])"
COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def find_browser():
    """Return the path of a Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser; its methods return when the browser has answered."""

    def __init__(self, path: str) -> None:
        self.profile = tempfile.TemporaryDirectory()
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        ends = (to_browser, from_browser)
        command = [sys.executable, "-IS", "-c", EXEC, *map(str, ends), path, *FLAGS]
        self.process = subprocess.Popen(
            [*command, f"--user-data-dir={self.profile.name}", "about:blank"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        self._read, self.events, self._number = b"", [], 0
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params):
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, page: Path | str, width: int, scheme: str) -> None:
        """Open a file or an address at a width in CSS pixels, in the scheme "light" or "dark"."""
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        address = page if isinstance(page, str) else page.resolve().as_uri()
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(x["method"] == "Page.loadEventFired" for x in self.events):
            self._next()

    def evaluate(self, expression: str):
        """Return the value of a JavaScript expression, or of its promise, in the page."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def complaints(self):
        """Return what the page has written to the console since it was opened."""
        return [x["params"] for x in self.events if x["method"] in COMPLAINTS]

    def requests(self):
        """Return the addresses that the page has asked for, besides itself and `data:`."""
        sent = (x for x in self.events if x["method"] == "Network.requestWillBeSent")
        urls = [x["params"]["request"]["url"] for x in sent if x["params"]["type"] != "Document"]
        return [url for url in urls if not url.startswith("data:")]

    def screenshot(self, file: Path) -> None:
        """Write a picture of the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        self._session = None
        with contextlib.suppress(OSError, EOFError):
            self.call("Browser.close")
        for end in (self._in, self._out):
            os.close(end)
        self.process.wait(timeout=20)
        self.profile.cleanup()

    def _next(self):
        """Return the next message; events are kept."""
        while b"\0" not in self._read:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise EOFError("the browser has ended")
            self._read += part
        text, _, self._read = self._read.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message
