"""Headless Chromium over the WebDriver protocol, spoken plainly: no client library."""

import base64
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests import ports
from tests.runtime.server.harness import PATIENCE

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id, fixed by the protocol
ARGUMENTS = (
    *("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-first-run"),
    *("--window-size=900,1230", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def missing() -> list[str]:
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Browser:
    """One window. Elements are named by CSS selectors."""

    def __init__(self, client: httpx.Client, downloads: Path) -> None:
        self._client = client
        self._downloads = downloads

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body if body is not None or method == "GET" else {})
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        self._do("POST", "url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """A function's body, run in the page; what it returns."""
        return self._do("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def _element(self, selector: str) -> str:
        found = self._do("POST", "element", {"using": "css selector", "value": selector})
        return f"element/{found[ELEMENT]}"

    def click(self, selector: str) -> None:
        self._do("POST", f"{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Replace what is in a field, by its keys."""
        element = self._element(selector)
        self._do("POST", f"{element}/clear")
        self._do("POST", f"{element}/value", {"text": text})

    def text(self, selector: str) -> str:
        return str(self._do("GET", f"{self._element(selector)}/text"))

    def wait(self, script: str, seconds: float = PATIENCE) -> Any:
        """Until the expression is true; what it is then."""
        deadline = time.monotonic() + seconds
        while not (found := self.run(f"return ({script});")):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.05)
        return found

    def downloaded(self, name: str, seconds: float = PATIENCE) -> bytes:
        """What a file holds that the page saved, once it is whole; it is gone afterwards."""
        path = self._downloads / name
        deadline = time.monotonic() + seconds
        while not path.is_file():  # until then it has another name
            assert time.monotonic() < deadline, f"{name} never came"
            time.sleep(0.05)
        data = path.read_bytes()
        path.unlink()
        return data

    def console(self) -> list[str]:
        """What the page complained about: scripts' errors, and what its policy refused."""
        entries = self._do("POST", "se/log", {"type": "browser"})
        return [str(entry["message"]) for entry in entries]

    def dark(self, on: bool) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self._do("POST", "goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._do("GET", "screenshot")))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A fresh browser, its profile and log in `folder`; gone at the end."""
    port = ports.free(1)[0]
    profile = folder / "profile"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    with (folder / "driver.log").open("wb") as log:
        driver = subprocess.Popen(["chromedriver", f"--port={port}"], env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            _wait_for(client)
            # the sandbox needs a user of its own; the only page here is ours
            options: dict[str, Any] = {"args": [*ARGUMENTS, "--no-sandbox", f"--user-data-dir={profile}"]}
            options["prefs"] = {"download.default_directory": str(folder / "downloads")}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            started = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
            assert "sessionId" in started, started
            client.base_url = client.base_url.join(f"/session/{started['sessionId']}/")
            try:
                yield Browser(client, folder / "downloads")
            finally:
                client.delete(str(client.base_url).rstrip("/"))  # with a slash at its end it would be another command
    finally:
        driver.terminate()
        driver.wait(20)


def _wait_for(client: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/status").json()["value"]["ready"]:
                return
        assert time.monotonic() < deadline, "chromedriver does not answer"
        time.sleep(0.05)
