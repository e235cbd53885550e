"""A headless Chromium, driven through the pipe of its DevTools protocol: no package, no port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 20.0


class Page:
    """One tab.

    Attributes:
        errors: what its console said that is no information: errors of scripts, of loading and of its policy.
        requests: addresses of what it asked for.
    """

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        """Attach to the first tab."""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._process, self._to, self._back = process, to, back
        self._number = 0
        self._left = b""
        self._session = ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its result."""
        number = self._tell(method, parameters)
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self._next(deadline)
            if message is None:
                raise TimeoutError(f"Chromium does not answer {method}")
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _tell(self, method: str, parameters: dict[str, Any]) -> int:
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        return self._number

    def _next(self, deadline: float) -> dict[str, Any] | None:
        while b"\0" not in self._left:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._back], [], [], left)[0]:
                return None
            some = os.read(self._back, 1 << 16)
            assert some, f"Chromium ended: {self._process.poll()}"
            self._left += some
        line, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, given = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(given["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(given["args"])[:600])
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif method == "Fetch.requestPaused":
            self._tell("Fetch.continueRequest", {"requestId": given["requestId"]})
        elif method == "Fetch.authRequired":
            cancelled = {"response": "CancelAuth"}
            self._tell("Fetch.continueWithAuth", {"requestId": given["requestId"], "authChallengeResponse": cancelled})

    def cancel_passwords(self, *, cancel: bool) -> None:
        """What somebody does who is asked for one and has none; without it Chromium waits."""
        if cancel:
            self.ask("Fetch.enable", handleAuthRequests=True)
        else:
            self.ask("Fetch.disable")

    def go(self, url: str) -> None:
        """Open an address; what was seen before is forgotten."""
        self.errors.clear()
        self.requests.clear()
        self.ask("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, as JSON."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = PATIENCE) -> Any:
        """The value of an expression once it is true."""
        deadline = time.monotonic() + seconds
        found = f"(() => {{ const found = ({expression}); return found instanceof Node || found }})()"
        asked = f"document.readyState === 'complete' && {found}"
        while not (value := self.value(asked)):
            if time.monotonic() > deadline:
                shown = self.value("document.body.innerText")
                raise AssertionError(f"never true: {expression}; errors {self.errors}; shown {shown[:1500]}")
            self.pause(0.05)
        return value

    def pause(self, seconds: float) -> None:
        """Take in what Chromium tells meanwhile."""
        deadline = time.monotonic() + seconds
        while (message := self._next(deadline)) is not None:
            self._note(message)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Set the size of the window in pixels."""
        scale = 2 if phone else 1
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    def scheme(self, name: str) -> None:
        """`dark` or `light`."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def press(self, key: str) -> None:
        """A key, down and up."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A photograph, of the whole page or of what is in the window."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with one tab, until the block is left."""
    (read, to), (back, write) = os.pipe(), os.pipe()
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write)]

    def speak() -> None:
        """The protocol is spoken on descriptors 3 and 4."""
        for place, end in enumerate(theirs, start=3):
            os.dup2(end, place)

    arguments = [
        require_binary("chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
    ]
    with subprocess.Popen(
        arguments,
        preexec_fn=speak,  # noqa: PLW1509 - no other way to these two descriptors
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        for end in (read, write, *theirs):
            os.close(end)
        try:
            yield Page(process, to, back)
        finally:
            for end in (to, back):
                os.close(end)  # Chromium ends when its pipe does
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
