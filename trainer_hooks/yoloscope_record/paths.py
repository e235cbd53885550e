"""Where records lie: one directory for the node, in it one for each user, in that one for each run.

    /dev/shm/yoloscope                          every user may make a directory in it (mode 1777)
    /dev/shm/yoloscope/yoloscope-1000           user 1000's alone; `-2` and so on where somebody else has the name, and
                                                sixteen digits that nobody guesses where somebody has a hundred
    /dev/shm/yoloscope/yoloscope-1000/RUN       records of one run

Whose a run is the owner of these directories says, and nothing that is written in them. Version 0.1 had a run's
directory in the node's: such runs are read as well.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record.file_format import RecordError, slug
from yoloscope_record.system import default_directory, os

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

MOST_NAMES = 100  # that a user's directory may have, where others have taken them
MAX_ENTRIES = 4096  # of one directory that are looked at
MOST_LISTED = 100_000  # of the record directory, of which the names alone are looked at
#: The end of a label that says whose the run is: `@` and a user id, and a number where one owner has two of a name.
OWNED = re.compile(r"@([0-9]{1,10})(-[0-9]+)?$")
#: The fact of a record that says that the run has ranks on other nodes.
NODES, SEVERAL = "nodes", "several"
_OF_USER = re.compile(r"yoloscope-(0|[1-9][0-9]{0,9})(-[1-9][0-9]?|-[0-9a-f]{16})?")


class RunDirectory(NamedTuple):
    """A run's directory. Paths are strings here: there are hundreds, every second."""

    path: str
    owner: int  # user id
    changed: int  # nanoseconds


def directory(environ: Mapping[str, str] | None = None) -> Path:
    r"""The record directory: `$YOLOSCOPE_DIR`, else that of the operating system.

    Linux has `/dev/shm/yoloscope`, and where that cannot be written a temporary directory of the user's; macOS
    `~/Library/Caches/yoloscope`, Windows `%LOCALAPPDATA%\yoloscope`.
    """
    environ = os.environ if environ is None else environ
    if chosen := environ.get("YOLOSCOPE_DIR"):
        return Path(chosen)
    return default_directory()


def make_directory(path: Path) -> Path:
    """Create the record directory, writable by every user of the node (mode 1777), and return it.

    Raises:
        RecordError: reason `directory` if it cannot be made, or is a link or a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir()
            _set_mode(path, 0o1777)
        found = path.lstat()
    except OSError as error:
        raise RecordError("directory", f"cannot make {path}: {error.strerror}; set YOLOSCOPE_DIR") from error
    if not stat.S_ISDIR(found.st_mode):
        raise RecordError("directory", f"{path} is a link or a file; set YOLOSCOPE_DIR to a real directory")
    return path


def _set_mode(made: Path, mode: int) -> None:
    """Set the mode of a directory made a moment ago, unless somebody has laid something else in its place."""
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def make_own(base: Path) -> Path:
    """This user's directory in the record directory, made where it is not there yet.

    Its mode is what the user's umask leaves of 0755: where others may not read files, they may not read records.

    Raises:
        RecordError: reason `directory` if it cannot be made.
    """
    user = os.geteuid()
    for path in chain(_names(base, user), _others(base, user), [base / f"yoloscope-{user}-{os.urandom(8).hex()}"]):
        try:
            with suppress(FileExistsError):
                path.mkdir(mode=0o755)
        except OSError as error:
            raise RecordError("directory", f"cannot make {path}: {error.strerror}; set YOLOSCOPE_DIR") from error
        if _belongs_to(path, user):
            return path
    raise RecordError("directory", f"others have all names of a directory for this user in {base}; set YOLOSCOPE_DIR")


def own(base: Path) -> list[Path]:
    """The directories in the record directory that are this user's; no others are looked at."""
    return list(_of(base, os.geteuid()))


def _of(base: Path, user: int) -> Iterator[Path]:
    """The directories of a user in the record directory, found by their names alone."""
    for path in _names(base, user):
        if not os.path.lexists(path):  # names are taken one after the other
            return
        if _belongs_to(path, user):
            yield path
    yield from _others(base, user)


def _others(base: Path, user: int) -> Iterator[Path]:
    """Those whose names nobody could guess, and take before the user: where somebody has taken all others."""
    with suppress(OSError), os.scandir(base) as entries:
        names = [entry.name for entry in islice(entries, MOST_LISTED) if user_of(entry.name) == user]
        yield from (base / name for name in names if _belongs_to(base / name, user))


def _names(base: Path, user: int) -> Iterator[Path]:
    name = f"yoloscope-{user}"
    return (base / (name if number == 1 else f"{name}-{number}") for number in range(1, MOST_NAMES))


def _belongs_to(path: Path, user: int) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user


def is_readable_to_all(path: Path) -> bool:
    """Whether other users may list the directory, and open what is in it."""
    return stat.S_IMODE(path.stat().st_mode) & 0o005 == 0o005  # noqa: PLR2004 - r-x


def user_of(name: str) -> int | None:
    """Whose directory one of that name is; None if it is a run's."""
    found = _OF_USER.fullmatch(name)
    return int(found[1]) if found else None


def run_directory(base: Path, run: str) -> Path:
    """The directory of one run in that of its user; made by the first writer of the run."""
    return base / slug(run)


def run_directories(
    base: Path,
    known: Collection[str] = (),
    refused: Callable[[str, int, str], None] = lambda *_: None,
    *,
    users: Callable[[], Iterable[int]] = tuple,
    payer: Callable[[int], int] = lambda owner: owner,
) -> Iterator[RunDirectory]:
    """The directories of all runs, those of version 0.1 included; at most MAX_ENTRIES of those with one `payer`.

    Where there are more in the record directory than are looked at, those at the paths `known` come first, and those of
    `users`: who may have a training here, each of whom is looked for by name. `refused` is told a reason, a user id and
    a path: `owner` where somebody has laid a directory of his own in place of a user's, `unreadable` where one may not
    be listed, `entries` where there are too many.

    Raises:
        OSError: the record directory cannot be listed.
    """
    owner = base.stat().st_uid  # may make a directory for others, as an exporter does of what it keeps
    entries, more = _listed(base)
    counts: Counter[int] = Counter()  # how many entries of each were looked at
    first = dict.fromkeys([*known, *(str(path) for user in users() for path in _of(base, user))] if more else ())
    for path in first:
        with suppress(OSError):
            user = os.lstat(path).st_uid
            yield from _of_user(path, user, payer(user), counts, refused)
    for entry in entries:
        named, status = user_of(entry.name), _directory_status(entry)
        if status is None or entry.path in first:
            continue
        user = status.st_uid
        counts[payer(user)] += 1
        if named is None:
            yield RunDirectory(entry.path, user, status.st_mtime_ns)
        elif user in (named, owner):
            yield from _of_user(entry.path, user, payer(user), counts, refused)
        else:
            refused("owner", user, entry.path)
    if more:
        refused("entries", counts.most_common(1)[0][0] if counts else owner, str(base))


def _of_user(
    path: str, user: int, payer: int, counts: Counter[int], refused: Callable[[str, int, str], None]
) -> Iterator[RunDirectory]:
    """What belongs to the user in the user's directory."""
    try:
        entries, more = _listed(path, max(MAX_ENTRIES - counts[payer], 0))
    except OSError:
        refused("unreadable", user, path)
        return
    counts[payer] += len(entries)
    if more:
        refused("entries", user, path)
    for entry in entries:
        found = _directory_status(entry)
        if found is not None and found.st_uid == user:
            yield RunDirectory(entry.path, user, found.st_mtime_ns)


def _listed(base: Path | str, most: int = MAX_ENTRIES) -> tuple[list[os.DirEntry[str]], bool]:
    """At most so many entries, and whether there are more."""
    with os.scandir(base) as found:
        return list(islice(found, most)), next(found, None) is not None


def _directory_status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False) if entry.is_dir(follow_symlinks=False) else None
    except OSError:  # gone in between
        return None


def find_run(base: Path, run: str) -> Path:
    """The directory of a run by its label: its name, with `@` and its owner's user id where an exporter adds that.

    Without the owner this user's own comes before others', and of these the last written to. One that is not there is
    where version 0.1 would have it.
    """
    owned = OWNED.search(run)
    found = _find(base, run[: owned.start()], int(owned[1])) if owned else None
    return found or _find(base, run) or base / slug(run)


def own_label(run: str, labels: Collection[str]) -> str:
    """The label that this user's run of that name has among these."""
    owned = f"{run}@{os.geteuid()}"
    return owned if owned in labels else run


def _find(base: Path, run: str, owner: int | None = None) -> Path | None:
    name, found = slug(run), []
    with suppress(OSError):
        found = [one for one in run_directories(base) if os.path.basename(one.path) == name]
    found = [one for one in found if owner in (None, one.owner)]
    best = max(found, key=lambda one: (one.owner == os.geteuid(), one.changed), default=None)
    return None if best is None else Path(best.path)


def record_files(base: Path, kinds: Iterable[str], owner: int | None = None) -> Iterator[Path]:
    """The records of such kinds (`rank`, `predict`), of one user or of all; a folder may be cleared meanwhile."""
    kinds = tuple(kinds)
    with suppress(OSError):
        for run in list(run_directories(base)):
            if owner in (None, run.owner):
                for kind in kinds:
                    with suppress(OSError):
                        yield from list(Path(run.path).glob(f"{kind}-*.rec"))
