"""The files that took a run's loader workers longest: what each cost, and what it is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import markup
from yoloscope_exporter.language import joined, say, text, units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.measures.series import Window

#: Files that are told of a run; the hooks tell as many of a rank.
MOST_FILES = 5
#: Of a path, for a line; files are told apart by its end.
MOST_PATH = 100
#: Columns of the tables.
HEADS = (text("file"), text("read and decode"), text("computing"), text("what it is"))
#: What is not in these figures.
TRANSFORMS = text("transforms are not measured file by file")

#: Fields of a file that are texts.
_TEXTS = ("path", "rank", "format", "filesystem")


class SlowFile(NamedTuple):
    """A file; what is not known is None or empty.

    Attributes:
        seconds: that it took to read and decode, the longest of all times.
        computing: of these, seconds on a CPU: decoding and resizing. The rest is reading and waiting for a CPU.
        size: in bytes.
        width, height: in pixels.
        format: JPEG, PNG, ...
        filesystem: type of the file system it lies on.
        repaired: it looks like a JPEG that Ultralytics has written anew because it was corrupt.
    """

    path: str
    rank: str
    seconds: float
    computing: float | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    format: str = ""
    filesystem: str = ""
    repaired: bool = False

    @property
    def shown(self) -> str:
        """The path for a line."""
        return self.path if len(self.path) <= MOST_PATH else f"...{self.path[3 - MOST_PATH :]}"

    @property
    def computing_share(self) -> str:
        """The share of the time on a CPU: `12.5%`; `-` where it is not known."""
        known = self.computing is not None and self.seconds > 0
        return units.percent(min((self.computing or 0.0) / self.seconds, 1.0)) if known else "-"

    def __str__(self) -> str:
        """As a line."""
        computing = (
            "" if self.computing is None else text("{computing_share} computing", computing_share=self.computing_share)
        )
        took = joined((units.milliseconds(self.seconds), computing), ", ")
        return joined((joined((took, self.shown), ": "), about(self)), "; ")


def about(file: SlowFile) -> str:
    """What the file is, which may be why it is slow: `12000 x 9000 px, PNG, 310 MiB, on nfs4`."""
    pixels = f"{file.width} x {file.height} px" if file.width and file.height else ""
    size = units.size(file.size) if file.size is not None else ""
    place = text("on {filesystem}", filesystem=file.filesystem) if file.filesystem else ""
    repaired = text("quality 100, as Ultralytics rewrites a corrupt JPEG") if file.repaired else ""
    return joined((pixels, file.format, size, place, repaired), ", ")


def of(windows: Iterable[Window], run: str, *rank: str) -> tuple[SlowFile, ...]:
    """The slowest files of a run, or of one rank of it; as they were told last, also when the run has ended."""
    found = sorted((file for window in windows for file in _in(window, run, *rank)), key=lambda file: -file.seconds)
    first: dict[str, SlowFile] = {}
    for file in found:
        first.setdefault(file.path, file)
    return tuple(first.values())[:MOST_FILES]


def _in(window: Window, *who: str) -> Iterator[SlowFile]:
    """Those that were told in the last moment in which any were: the list changes while a run goes on."""
    seconds = _last(window, catalog.TRAIN_SLOW_FILE_SECONDS, who)
    if not seconds:
        return
    computing = _last(window, catalog.TRAIN_SLOW_FILE_CPU_SECONDS, who)
    size = _last(window, catalog.TRAIN_SLOW_FILE_BYTES, who)
    known = {labels[:3]: labels[3:] for labels in _last(window, catalog.TRAIN_SLOW_FILE_INFO, who)}
    for labels, took in seconds.items():
        width, height, form, filesystem, repaired = known.get(labels, ("",) * 5)
        yield SlowFile(
            labels[2],
            labels[1],
            took,
            computing.get(labels),
            int(size[labels]) if labels in size else None,
            _whole(width),
            _whole(height),
            form,
            filesystem,
            repaired == "true",
        )


def _last(window: Window, metric: catalog.Metric, who: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    inside = [(labels, series, span[-1]) for labels, series, span in window.inside(metric, who)]
    last = max((series.times[at] for _, series, at in inside), default=0.0)
    return {labels: series.values[at] for labels, series, at in inside if series.times[at] == last}


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None  # noqa: PLR2004 - digits


def table(files: Sequence[SlowFile]) -> list[str]:
    """Lines of a table in Markdown."""
    rows = [row(file) for file in files]
    told = [tuple(markup.name(say(cell)) for cell in one) for one in (HEADS, *rows)]
    lines = [told[0], ("---",) * len(HEADS), *told[1:]]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def row(file: SlowFile) -> tuple[str, ...]:
    """Cells below HEADS."""
    return file.shown, units.milliseconds(file.seconds), file.computing_share, about(file) or "-"


def to_json(files: Sequence[SlowFile]) -> list[dict[str, Any]]:
    """The files in base units; what is not known is not there."""
    return [{name: value for name, value in file._asdict().items() if value not in (None, "", False)} for file in files]


def from_json(items: Iterable[Mapping[str, Any]]) -> tuple[SlowFile, ...]:
    """What `to_json` told; fields that are not known here are left out.

    Raises:
        TypeError: one is of another type.
    """
    return tuple(_parsed({name: item[name] for name in SlowFile._fields if name in item}) for item in items)


def _parsed(fields: Mapping[str, Any]) -> SlowFile:
    for name, value in fields.items():
        wanted = (bool,) if name == "repaired" else (str,) if name in _TEXTS else (int, float, type(None))
        if not isinstance(value, wanted):
            raise TypeError(f"{name} of a file is something else")
    return SlowFile(**fields)
