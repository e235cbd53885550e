"""Numbers with their units, for people."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from yoloscope_exporter.language import Text, in_figures, plural, text

if TYPE_CHECKING:
    from datetime import tzinfo


def in_order(name: str) -> tuple[int, str]:
    """A key that sorts ranks, workers and GPUs, whose names are numbers, by them."""
    return len(name), name


def counted(number: float, noun: str) -> Text:
    """A number and its noun in the right number: `1 worker`, `2 workers`, `3 batches`."""
    one = f"{{number:.0f}} {noun}"
    return plural(number, one, f"{one}{'es' if noun.endswith('ch') else 's'}")


def milliseconds(seconds: float) -> str:
    """A short time: `83.1 ms`, `2.5 s`."""
    return f"{in_figures(seconds * 1000, 3)} ms" if seconds < 1 else f"{in_figures(seconds, 3)} s"


def duration(seconds: float) -> str:
    """A long time: `83.1 s`, `2:05:00`."""
    if seconds < 120:  # noqa: PLR2004 - two minutes are still read in seconds
        return f"{seconds:.1f} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def about(seconds: float) -> Text:
    """A time of which only the order matters: `40 s`, `25 min`, `3 h`, `12 days`."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds < most * length:
            return Text(f"{seconds / length:.2g} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}")
    return text("{days:.0f} days", days=seconds / 86400)


def size(number: float) -> str:
    """Bytes: `3.2 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if abs(number) < 1024:  # noqa: PLR2004 - binary prefixes
            return f"{in_figures(number, 3)} {unit}"
        number /= 1024
    return f"{in_figures(number, 3)} GiB"


def gib(number: float) -> str:
    """Bytes in GiB, for columns: `3.20 GiB`."""
    return f"{number / 2**30:.2f} GiB"


def energy(joules: float) -> str:
    """Energy: `3.2 Wh`, `1.5 kWh`."""
    hours = joules / 3600
    return f"{in_figures(hours, 3)} Wh" if hours < 1000 else f"{in_figures(hours / 1000, 3)} kWh"  # noqa: PLR2004


def percent(share: float) -> str:
    """A share: `12.5%`."""
    return f"{share:.1%}"


def utc(time: float) -> str:
    """Unix seconds for programs: `2026-09-21T14:13:20Z`."""
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_utc(written: str) -> float:
    """What `utc` has written, as Unix seconds."""
    return datetime.fromisoformat(written.replace("Z", "+00:00")).timestamp()


def clock(time: float, zone: tzinfo | None = None) -> str:
    """Unix seconds as the time of day, in this machine's zone if none is given; what is around it has the offset."""
    return datetime.fromtimestamp(time, timezone.utc).astimezone(zone).strftime("%H:%M:%S")


def local_time(time: float, zone: tzinfo | None = None) -> str:
    """Unix seconds as the time of day with its offset, `19:31:05+08:00`; in this machine's zone if none is given."""
    return datetime.fromtimestamp(time, timezone.utc).astimezone(zone).timetz().isoformat("seconds")


def local_date(time: float, zone: tzinfo | None = None) -> str:
    """The day of Unix seconds, `2026-11-27`, as `local_time`."""
    return datetime.fromtimestamp(time, timezone.utc).astimezone(zone).date().isoformat()


def local(time: float) -> str:
    """Unix seconds with day and offset, where this runs: `2026-11-27 19:31:05+08:00`."""
    return f"{local_date(time)} {local_time(time)}"
