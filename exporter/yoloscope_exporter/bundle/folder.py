"""A bundle on disk: written, remembered in its bundle.json, and compared with what would be written now."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.bundle.site import SECRET, Site, notify_of
from yoloscope_exporter.language import joined, text
from yoloscope_exporter.system import whole_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MANIFEST = "bundle.json"
FORMAT = 1
#: So many rules are named in a line, at most.
LISTED = 8
_NOTIFY = "systemd/yoloscope-notify.env"
_WITH_SECRETS = frozenset(Path(path).parent for path in SECRET)


class BundleError(Exception):
    """A folder is not a bundle, or not to be written to."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle remembers.

    Attributes:
        version: of the yoloscope that wrote it.
        site: its options; the addresses of alerts are in the files for them alone.
        digests: path -> SHA-256 of what was written.
    """

    version: str
    site: Site
    digests: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A file of a bundle that is not as it would be written now: `edited`, `missing`, `changed`, `new` or `removed`.

    `detail` is what was edited, or what the file would get.
    """

    path: str
    kind: str
    detail: str = ""


def digest(text: str) -> str:
    """Of a file's content."""
    return sha256(text.encode()).hexdigest()


def manifest(folder: Path) -> Manifest | None:
    """What the bundle in `folder` remembers; None if the folder is not there or empty.

    Raises:
        BundleError: something else is in it, or the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise BundleError(
                text(
                    "{folder} has files in it and no {manifest}; name a new folder, or an earlier bundle",
                    folder=folder,
                    manifest=MANIFEST,
                )
            )
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise BundleError(
                text(
                    "{path} is of a newer yoloscope: format {format}, this one knows {known}",
                    path=path,
                    format=content["format"],
                    known=FORMAT,
                )
            )
        stored = content["site"]
        site = Site(**{**stored, "targets": tuple(stored["targets"])})
        digests = dict(content["files"])
        if outside := [name for name in digests if not _inside(name)]:
            raise BundleError(text("{path} names {name!r}, which is not in its folder", path=path, name=outside[0]))
        return Manifest(content["version"], replace(site, notify=_notify(folder)), digests)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(text("{path} is damaged: {error}", path=path, error=error)) from error


def _inside(path: str) -> bool:
    """Whether it stays in a folder, on any system: what the manifest names may be removed."""
    parts = PureWindowsPath(path)  # knows both separators
    return not parts.anchor and ".." not in parts.parts


def _notify(folder: Path) -> tuple[str, ...]:
    path = folder / _NOTIFY
    return notify_of(path.read_text(encoding="utf-8")) if path.is_file() else ()


def write(folder: Path, files: Mapping[str, str], site: Site, version: str) -> None:
    """Write all of them, the manifest last; files of an earlier bundle that are not among them go.

    Raises:
        BundleError: a link leads out of the folder; nothing was changed.
        OSError: something cannot be written.
    """
    known = manifest(folder)
    _require_inside(folder, {*files, *(known.digests if known else ())})
    for path, kept in files.items():
        _enter(folder, Path(path).parent)
        _write(folder / path, kept, secret=path in SECRET)
    for path in (known.digests if known else {}).keys() - files.keys():
        (folder / path).unlink(missing_ok=True)
    stored = {key: value for key, value in asdict(site).items() if key != "notify"}
    digests = {path: digest(kept) for path, kept in files.items()}
    content = {"format": FORMAT, "version": version, "site": stored, "files": digests}
    _write(folder / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n", secret=False)


def _require_inside(folder: Path, paths: Iterable[str]) -> None:
    """Nothing is written or removed where a link leads: whose manifest it is may not be who has laid the link."""
    for part in sorted({part for path in paths for part in Path(path).parents}):
        if part.parts and (folder / part).is_symlink():
            raise BundleError(
                text("{path} is a link; make it a folder, or name the one that it leads to", path=folder / part)
            )


def _enter(folder: Path, inside: Path) -> None:
    """Make it where it is missing; whatever the umask, others may read what is not secret: Prometheus, Grafana."""
    for part in (*reversed(inside.parents), inside):
        if not (folder / part).is_dir():
            (folder / part).mkdir(parents=True)
            if part not in _WITH_SECRETS:
                (folder / part).chmod(0o755)


def _write(path: Path, text: str, *, secret: bool) -> None:
    """At once or not at all; scripts may be run, and nobody else reads a secret, at no moment."""
    mode = 0o600 if secret else 0o755 if text.startswith("#!") else 0o644
    whole_files.replace(path, [text], lambda new: new.chmod(mode), newline="\n")


def lost(folder: Path, known: Manifest | None, files: Mapping[str, str]) -> list[str]:
    """What writing `files` would overwrite or remove that is somebody's: edited since, or put there by them."""
    digests = known.digests if known else {}
    there = {path: text for path in digests.keys() | files.keys() if (text := _read(folder / path)) is not None}
    return sorted(path for path, text in there.items() if digest(text) != digests.get(path) and text != files.get(path))


def differences(folder: Path, known: Manifest, files: Mapping[str, str]) -> list[Difference]:
    """Where the bundle in `folder` and what would be written now differ, by path."""
    found = [
        _difference(path, _read(folder / path), known.digests.get(path), files.get(path)) for path in _all(known, files)
    ]
    return [one for one in found if one is not None]


def _all(known: Manifest, files: Mapping[str, str]) -> Sequence[str]:
    return sorted(known.digests.keys() | files.keys())


def _difference(path: str, there: str | None, was: str | None, now: str | None) -> Difference | None:
    if now is None:
        return Difference(path, text("removed")) if there is not None else None
    if there is None:
        return Difference(path, text("new") if was is None else text("missing"))
    if there == now:
        return None
    if digest(there) != was:
        return Difference(path, text("edited"), _detail(path, now, there))
    return Difference(path, text("changed"), _detail(path, there, now))


def _detail(path: str, old: str, new: str) -> str:
    """Which rules, where it is a file of rules; else how many lines."""
    if "/rules/" in path and path.endswith(".yml"):
        before, after = _rules(old), _rules(new)
        added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
        changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
        if named := joined(
            (
                text("added {names}", names=_listed(added)) if added else "",
                text("removed {names}", names=_listed(removed)) if removed else "",
                text("changed {names}", names=_listed(changed)) if changed else "",
            )
        ):
            return named
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0))[2:]
    more, fewer = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return text("{added} lines added, {removed} removed", added=more, removed=fewer)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:LISTED])}{' ...' if len(names) > LISTED else ''}"


def _rules(text: str) -> dict[str, str]:
    """Name of an alert or of a recorded series -> its rule; of several with one name the texts together."""
    parts = re.split(r"(?m)^ *- (?=(?:alert|record): )", text)[1:]
    found: dict[str, str] = {}
    for part in parts:
        name = part.partition("\n")[0].partition(": ")[2]
        found[name] = found.get(name, "") + part
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
