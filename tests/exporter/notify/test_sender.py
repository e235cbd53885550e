"""Nothing is lost while a service is away, and one that is away holds up no other."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.notify import sender as sending
from yoloscope_exporter.notify.messages import Message, Section
from yoloscope_exporter.notify.queue import Queue
from yoloscope_exporter.notify.sender import Sender, pause_after, send_now
from yoloscope_exporter.notify.services import Service

from tests.exporter.notify.services import LIMITS
from tests.live import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.exporter.notify.services import Services


def message(title: str, made: float | None = None) -> Message:
    """A message made now."""
    return Message(title, (Section("", (f"text of {title}",)),), "info", time.time() if made is None else made)


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow within hundredths of a second."""
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(sending, "MOST_PAUSE", 0.05)
    monkeypatch.setattr(sending, "LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("_fast")
def test_a_service_away_and_back_loses_nothing(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over a restart of the sender, too; in their order, each once, and the log says it twice, not a hundred times."""
    caplog.set_level("INFO")
    queue, service = Queue(tmp_path), Service(services.urls["feishu"])
    services.away = True
    first = Sender(service, queue)
    first.start()
    for number in range(20):
        queue.put([service.key], message(f"m{number}"))
        first.wake()
    time.sleep(0.3)
    first.close()
    assert services.got == []
    second = Sender(service, queue)
    second.start()
    time.sleep(0.2)
    services.away = False
    wait_for(lambda: len(services.got) == 20)
    wait_for(lambda: not queue.waiting(service.key))
    second.close()
    assert [got.title for got in services.got] == [f"m{number}" for number in range(20)]
    assert sum("trying again" in text for text in caplog.messages) == 2
    assert sum("takes messages again" in text for text in caplog.messages) == 1


@pytest.mark.parametrize("name", LIMITS)
def test_ten_minutes_away(services: Services, tmp_path: Path, name: str) -> None:
    """With the real pauses and a clock of the test's: a message each half minute, all of them arrive, in their order.

    The last one five minutes after the service is back at the latest, and a dozen attempts did not hammer it.
    """
    queue, service = Queue(tmp_path), Service(services.urls[name])
    sender, clock, made, failures = Sender(service, queue), 0.0, 0, 0
    while clock < 600 + sending.MOST_PAUSE:
        services.away = clock < 600
        while made * 30 <= min(clock, 600):
            queue.put([service.key], message(f"m{made}"))
            made += 1
        empty = sender.attempt()
        failures += bool(sender.pause)
        clock += sending.LOOK_SECONDS if empty else sender.pause
    assert made == 21
    assert [re.sub(r"\W", "", got.title) for got in services.got] == [f"m{number}" for number in range(21)]
    assert queue.waiting(service.key) == []
    assert 8 <= failures <= 12


@pytest.mark.usefixtures("_fast")
def test_one_away_holds_up_no_other(services: Services, tmp_path: Path) -> None:
    """Each has its own thread and its own queue."""
    queue = Queue(tmp_path)
    reachable, away = Service(services.urls["wecom"]), Service("feishu://wrong@01234567")
    senders = [Sender(service, queue) for service in (away, reachable)]
    for one in senders:
        one.start()
    for number in range(5):
        queue.put([away.key, reachable.key], message(f"m{number}"))
    wait_for(lambda: len(services.of("wecom")) == 5)
    for one in senders:
        one.close()
    assert len(queue.waiting(away.key)) == 5


def left_after_two_attempts(tmp_path: Path, service: Service) -> str:
    """The title of the message that still waits, of an old one, of more than a day ago, and a new one."""
    queue = Queue(tmp_path)
    queue.put([service.key], message("old", time.time() - 90_000))
    queue.put([service.key], message("new"))
    sender = Sender(service, queue)
    assert not sender.attempt()
    assert not sender.attempt()
    (path,) = queue.waiting(service.key)
    return queue.read(path).title


@pytest.mark.usefixtures("_fast")
def test_what_is_refused_for_a_day_is_given_up(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With an error that names it; the next one gets its turn."""
    assert left_after_two_attempts(tmp_path, Service("feishu://wrong@01234567")) == "new"
    assert "given up after 24 h: old" in caplog.text
    assert len(services.refused) == 2


@pytest.mark.usefixtures("_fast")
def test_a_message_that_breaks_its_plugin_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a day, as one that is refused; the trace of the first time is in the log."""
    service = Service("feishu://wrong@01234567")
    service.send = _broken
    assert left_after_two_attempts(tmp_path, service) == "new"
    assert "given up after 24 h: old (unhashable)" in caplog.text
    assert "in _broken" in caplog.text


def _broken(_message: Message) -> None:
    raise TypeError("unhashable")


@pytest.mark.usefixtures("_fast")
def test_a_folder_that_cannot_be_had_yet(services: Services, tmp_path: Path) -> None:
    """A sender goes on when it can be: a disk that was full or not mounted."""
    queue, service = Queue(tmp_path / "queue"), Service(services.urls["wecom"])
    (tmp_path / "queue").touch()
    sender = Sender(service, queue)
    sender.start()
    time.sleep(0.1)
    (tmp_path / "queue").unlink()
    queue.put([service.key], message("a"))
    wait_for(lambda: len(services.got) == 1)
    sender.close()


def test_pauses_double_up_to_five_minutes() -> None:
    """Spread, so that senders do not all come at once."""
    pauses = [pause_after(failures) for failures in range(1, 1000)]
    for number, pause in enumerate(pauses):
        longest = min(2.0**number, 300.0)
        assert 0.75 * longest <= pause <= longest


@pytest.mark.usefixtures("_fast")
def test_send_now(services: Services, tmp_path: Path) -> None:
    """All that waits, for as long as it is given; what is left waits on disk."""
    queue, service = Queue(tmp_path), Service(services.urls["dingtalk"])
    services.away = True
    queue.put([service.key], message("a"))
    assert send_now([service], queue, 0.2) == [service]
    services.away = False
    queue.put([service.key], message("b"))
    assert send_now([service], queue, 5.0) == []
    assert [got.title for got in services.got] == ["a", "b"]
