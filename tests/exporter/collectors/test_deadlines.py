"""Calls that may block."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from yoloscope_exporter.collectors.deadlines import IsolatedThread


def test_value_and_exception_are_handed_on() -> None:
    """A future has what the call came to, whatever it raised."""
    thread = IsolatedThread("test")
    assert thread.call(lambda: 3, 5.0).result() == 3
    for error in (ValueError("no"), SystemExit(1)):

        def fail(error: BaseException = error) -> None:
            raise error

        assert thread.call(fail, 5.0).exception() is error
    thread.close()


def test_calls_share_a_thread_until_one_blocks() -> None:
    """A blocked call keeps its thread; the next one gets another, and the first result comes late."""
    thread, release = IsolatedThread("test"), threading.Event()
    before = thread.call(threading.get_ident, 5.0).result()
    assert thread.call(threading.get_ident, 5.0).result() == before
    blocked = thread.call(lambda: (release.wait(20), threading.get_ident())[1], 0.01)
    assert not blocked.done()
    assert thread.call(threading.get_ident, 5.0).result() != before
    release.set()
    assert blocked.result(10) == before
    thread.close()


def test_threads_end() -> None:
    """After `close`, and after a blocked call has come back, no thread is left."""
    thread, release = IsolatedThread("ends"), threading.Event()
    blocked = thread.call(lambda: release.wait(20), 0.01)
    thread.call(int, 5.0)
    release.set()
    blocked.result(10)
    thread.close()
    for one in [one for one in threading.enumerate() if one.name == "ends"]:
        one.join(10)
        assert not one.is_alive()


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_blocked_call_does_not_keep_the_process(seconds: float) -> None:
    """The interpreter ends although a call will never return."""
    code = (
        "import threading; from yoloscope_exporter.collectors.deadlines import IsolatedThread;"
        f"IsolatedThread('x').call(threading.Event().wait, {seconds})"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
