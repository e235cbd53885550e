"""Collectors of other packages, installed beside yoloscope.

A package offers one under an entry point of the group `yoloscope.collectors`. It names a callable, with no argument or
with the `Config`, that returns a collector of prometheus_client: an object whose `collect()` gives metric families.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from yoloscope_exporter.catalog import PREFIX
from yoloscope_exporter.sampling.exposition import Form, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from importlib.metadata import EntryPoint

    from yoloscope_exporter.config import Config

MAX_SERIES = 20_000  # of one collector, as of one run

_METRIC_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")  # colons are for recording rules
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
#: What each type appends to the family's name.
_SUFFIXES = {
    "counter": ("_total", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}


class InvalidFamiliesError(Exception):
    """What a third party's collector gave cannot be published; `reason` is one word, for counting."""

    def __init__(self, reason: str, text: str) -> None:
        """Take the reason and what is wrong."""
        super().__init__(text)
        self.reason = reason


class ThirdParty:
    """The collector behind an entry point, loaded when it is first collected, and again while that fails."""

    def __init__(self, entry: EntryPoint, config: Callable[[], Config]) -> None:
        """Import nothing yet."""
        self._entry, self._config = entry, config
        self._collector: Any = None

    def collect(self) -> tuple[Family, ...]:
        """The collector's families, checked.

        Raises:
            InvalidFamiliesError: they cannot be published.
            Exception: the collector's own, or that of its import.
        """
        if self._collector is None:
            self._collector = self._load()
        return checked(self._collector.collect())

    def _load(self) -> object:
        make = self._entry.load()
        collector = make(self._config()) if _wants_config(make) else make()
        if not callable(getattr(collector, "collect", None)):
            raise TypeError(f"{self._entry.value} gives a {type(collector).__name__} without collect()")
        return collector


def _wants_config(make: Callable[..., object]) -> bool:
    """Whether the callable has an argument that it cannot do without."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except ValueError:  # written in C
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(one.kind in positional and one.default is one.empty for one in parameters)


# --- what may be published ------------------------------------------------------------------------------------------


def checked(given: Iterable[object]) -> tuple[Family, ...]:
    """Copies of the families, which the collector cannot change any more.

    The judge is the library: what it writes, its own strict parser has to read. That takes 17 us a series.

    Raises:
        InvalidFamiliesError: one of them cannot be published.
    """
    families, room = [], MAX_SERIES
    for family in given:
        copied = _copied(family, room)
        families.append(copied)
        room -= 1 + len(copied.samples)
        if room < 0:
            raise InvalidFamiliesError("series", f"more than {MAX_SERIES} series")
    _check_names(families)
    try:
        encode(Form(), families)
        parse: Callable[[str], Iterable[object]] = text_string_to_metric_families
        list(parse(encode(Form(openmetrics=True), families).decode()))
    except Exception as error:  # whatever the library cannot write or read
        raise InvalidFamiliesError("invalid", f"{type(error).__name__}: {next(iter(error.args), '')}") from error
    return tuple(families)


def _copied(family: object, room: int) -> Family:
    if not isinstance(family, Family):
        raise InvalidFamiliesError("invalid", f"{type(family).__name__} is no metric family")
    if len(family.samples) > room:
        raise InvalidFamiliesError("series", f"more than {MAX_SERIES} series")
    copied = Family(family.name, family.documentation, family.type)
    copied.unit, copied.samples = family.unit, list(family.samples)
    return copied


def _check_names(families: Iterable[Family]) -> None:
    known: set[str] = set()
    for family in families:
        if not _METRIC_NAME.fullmatch(family.name):
            raise InvalidFamiliesError("invalid", f"{family.name!r} is no name of a metric")
        if family.name.startswith(PREFIX):
            raise InvalidFamiliesError("taken", f"{family.name} is a name of yoloscope's own")
        names = set(names_of(family))
        if twice := sorted(names & known):
            raise InvalidFamiliesError("duplicate", f"the family {twice[0]} comes twice")
        known |= names
        _check_series(family)


def _check_series(family: Family) -> None:
    allowed = {family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",))}
    series = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples)
    for name, labels in series:
        if name not in allowed:
            raise InvalidFamiliesError("invalid", f"{name} is no sample of the {family.type} {family.name}")
        for label, value in labels:
            if not _LABEL_NAME.fullmatch(label) or not isinstance(value, str):
                raise InvalidFamiliesError("invalid", f"{family.name} has the label {label}={value!r}")
    for (name, labels), times in series.most_common(1):
        if times > 1:
            raise InvalidFamiliesError("duplicate", f"the series {name}{dict(labels)} comes twice")


def names_of(family: Family) -> Iterator[str]:
    """The family's name and those of its samples: no other family may have one of them."""
    yield family.name
    for suffix in _SUFFIXES.get(family.type, ()):
        yield family.name + suffix
