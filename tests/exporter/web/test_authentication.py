"""Passwords and the limit on requests: right and wrong ones, what they cost, and what a flood of them does."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import TYPE_CHECKING

import bcrypt
import pytest
from yoloscope_exporter.web import authentication
from yoloscope_exporter.web.authentication import Bucket
from yoloscope_exporter.web.config import RateLimit
from yoloscope_exporter.web.config_file import WebConfigFile

from tests.exporter.serving import ask, connected, fetch, raw, serving

if TYPE_CHECKING:
    from pathlib import Path


def basic(user: str, password: str) -> str:
    """Value of the header Authorization."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file with one user, as htpasswd -B writes it."""
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users:\n  ada: {hashed}\nhttp_server_config:\n  headers: {{X-Frame-Options: deny}}\n")
    return file


def test_passwords(users: Path) -> None:
    """Right ones open, wrong and missing ones do not; headers of the file are sent either way."""
    with serving(WebConfigFile(users)) as url:
        status, _, headers = fetch(f"{url}/metrics")
        assert (status, headers["WWW-Authenticate"], headers["X-Frame-Options"]) == (401, "Basic", "deny")
        assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 200
        assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret") + "  ")[0] == 200
        assert raw(url, b"PROPFIND /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 401")
        for header in (
            basic("ada", "wrong"),
            basic("bob", "secret"),
            basic("", ""),
            "Basic x",
            "Basic é",
            "Bearer y",
            "é",
        ):
            assert fetch(f"{url}/metrics", Authorization=header)[0] == 401


def test_password_is_checked_once(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bcrypt is slow on purpose, so its answer is kept."""
    calls: list[int] = []
    original = authentication.matches
    monkeypatch.setattr(authentication, "matches", lambda *args: calls.append(1) or original(*args))
    with serving(WebConfigFile(users)) as url:
        for _ in range(5):
            assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 200
    assert len(calls) == 1


def test_changed_users_are_taken_and_bad_files_not(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that turns bad keeps the old users, which is said once; a good one replaces them."""
    with serving(WebConfigFile(users)) as url:
        good = users.read_text()
        users.write_text("basic_auth_users: 7\n")
        for _ in range(3):
            assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 200
        assert caplog.text.count("not reloaded") == 1
        users.write_text(good.replace("ada", "bob"))
        assert fetch(f"{url}/metrics", Authorization=basic("bob", "secret"))[0] == 200
        assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 401


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The cost of every hash that is checked."""
    seen: list[int] = []
    original = authentication.matches

    def counted(password: bytes, stored: str) -> bool:
        seen.append(int(stored.split("$")[2]))
        return original(password, stored)

    monkeypatch.setattr(authentication, "matches", counted)
    return seen


def test_unknown_users_cost_what_known_ones_cost(tmp_path: Path, costs: list[int]) -> None:
    """One check at the cost of the file's hashes, whoever is named: the time tells nobody who exists."""
    with serving(_users(tmp_path, ada=4, bob=5)) as url:
        for name in ("ada", "bob"):
            assert fetch(url, Authorization=basic(name, "wrong"))[0] == 401
        assert costs == [4, 5]
        costs.clear()
        for number in range(40):
            assert fetch(url, Authorization=basic(f"nobody{number}", "wrong"))[0] == 401
        assert len(costs) == 40
        assert set(costs) == {4, 5}
        costs.clear()
        for password in ("bad", "worse", "worst"):
            fetch(url, Authorization=basic("nobody1", password))
    assert len(costs) == 3
    assert len(set(costs)) == 1  # a user who does not exist is always the same


def test_what_names_nobody_costs_nothing(users: Path, costs: list[int]) -> None:
    """Without a name and a password there is nothing to check."""
    with serving(WebConfigFile(users)) as url:
        assert fetch(url)[0] == 401
        assert fetch(url, Authorization="Bearer x")[0] == 401
    assert not costs


def test_a_flood_of_passwords_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is known is answered while others' are being checked; the flood waits, or is told to come again."""
    number, waiting, release = 150, authentication.MAX_WAITING, threading.Event()
    with serving(_users(tmp_path, ada=4, bob=4)) as url, connected(url) as scraper, ThreadPoolExecutor(20) as flood:
        known = {"Authorization": basic("ada", "secret")}
        assert ask(scraper, "/-/ready", **known)[0] == 200
        monkeypatch.setattr(authentication, "matches", lambda *_: not release.wait(30))  # none is done until then
        asked = [flood.submit(fetch, url, Authorization=basic("bob", f"wrong{one}")) for one in range(number)]
        answers = as_completed(asked, timeout=30)
        for refused in islice(answers, number - waiting):
            assert refused.result()[0] == 503
            assert ask(scraper, "/-/ready", **known)[0] == 200
        release.set()
        assert [one.result()[0] for one in answers] == [401] * waiting


def test_wrong_passwords_do_not_displace_the_right_one(users: Path, costs: list[int]) -> None:
    """However many of them come."""
    with serving(WebConfigFile(users)) as url:
        for password in ("secret", *(f"wrong{number}" for number in range(authentication.CACHE_SIZE + 5)), "secret"):
            fetch(url, Authorization=basic("ada", password))
    assert len(costs) == authentication.CACHE_SIZE + 6


def test_the_same_question_is_asked_once(tmp_path: Path, costs: list[int]) -> None:
    """Scrapers with the same password that come together wait for one answer."""
    with serving(_users(tmp_path, ada=9)) as url, ThreadPoolExecutor(8) as scrapers:
        asked = [scrapers.submit(fetch, url, Authorization=basic("ada", "secret")) for _ in range(8)]
        assert {one.result()[0] for one in asked} == {200}
    assert len(costs) == 1


def _users(directory: Path, **costs: int) -> WebConfigFile:
    """Users whose password is `secret`, hashed at these costs."""
    hashes = {name: bcrypt.hashpw(b"secret", bcrypt.gensalt(cost)).decode() for name, cost in costs.items()}
    file = directory / "web.yml"
    file.write_text("basic_auth_users:\n" + "".join(f"  {name}: {value}\n" for name, value in hashes.items()))
    return WebConfigFile(file)


def test_rate_limit(tmp_path: Path) -> None:
    """A burst is answered, what is beyond it is 429."""
    file = tmp_path / "web.yml"
    file.write_text("rate_limit: {interval: 1h, burst: 2}\n")
    with serving(WebConfigFile(file)) as url:
        assert [fetch(f"{url}/-/ready")[0] for _ in range(4)] == [200, 200, 429, 429]


def test_bucket() -> None:
    """It fills with time, and not above the burst."""
    bucket = Bucket(RateLimit(interval=0.5, burst=2), 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
