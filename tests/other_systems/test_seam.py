"""What only Linux has is asked for in one place per package: `system`, and `service.signals` for signals."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.other_systems import names

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("exporter/yoloscope_exporter", "trainer_hooks/yoloscope_record", "trainer_hooks/yoloscope_hooks")
SEAM = ("yoloscope_record/system/", "yoloscope_exporter/system/", "yoloscope_exporter/service/signals.py")
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not any(part in path.as_posix() for part in SEAM)
)
#: Uses that no other system comes to, and why.
REASONS = {
    "yoloscope_exporter/checks/asked.py": {"os.nice"},  # where `hasattr` says that it is there
    "yoloscope_exporter/collectors/cpu.py": {"os.getloadavg"},  # where `hasattr` says that it is there
    "yoloscope_exporter/collectors/disk.py": {"os.major", "os.minor"},  # of a node's disks, seen from a container
    "yoloscope_exporter/collectors/process.py": {  # of /dev/shm below /proc, where their absence is caught
        *("os.O_PATH", "os.O_DIRECTORY", "os.O_NOFOLLOW", "os.O_CLOEXEC", "os.fstatvfs"),
    },
    "yoloscope_exporter/collectors/stacks/inquiry.py": {  # of a process that has a stack file: it has the signal
        *("os.pidfd_open", "signal.pidfd_send_signal"),
    },
    "yoloscope_exporter/commands/output.py": {"os.chown"},  # where its absence is caught
    "yoloscope_exporter/commands/run.py": {  # `_waiting_for_signals`, where there is a `sigwaitinfo`
        *("signal.SIGCHLD", "signal.SIG_SETMASK", "signal.pthread_sigmask", "signal.sigtimedwait"),
        *("signal.sigwaitinfo",),
    },
    "yoloscope_exporter/notebook/helper.py": {"os.nice"},  # where `hasattr` says that it is there
    "yoloscope_exporter/web/server.py": {"socket.AF_UNIX"},  # of an address unix:, refused where there are none
    "yoloscope_hooks/image_files.py": {"os.major", "os.minor"},  # after /proc was found
    "yoloscope_hooks/inference.py": {"os.register_at_fork"},  # where `hasattr` says that it is there
    "yoloscope_hooks/naming.py": {"os.sysconf"},  # after /proc was read
    "yoloscope_hooks/probing.py": {"signal.alarm"},  # where `hasattr` says that it is there
    "yoloscope_hooks/stacks.py": {  # after a real-time signal was found
        *("os.register_at_fork", "signal.SIGHUP"),
    },
}


def uses(tree: ast.Module) -> Iterator[str]:
    """`module.name` of what a file asks of the modules that differ, wherever it does; modules alone as they are."""
    known: dict[str, str] = {}
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name] = alias.name
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)
            known.update({alias.asname or alias.name: "given os" for alias in node.names if alias.name == "os"})
    for node in _executed(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            yield f"{known[node.value.id]}.{node.attr}"


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _executed(child)


def linux_only(tree: ast.Module) -> set[str]:
    """What a file uses that Windows or macOS has not."""
    found = set()
    for use in uses(tree):
        module, _, name = use.rpartition(".")
        for system in ("windows", "macos"):
            top = use.partition(".")[0]
            if top in names.missing_modules(system) or name in _missing(module, system):
                found.add(f"{'os' if module == 'given os' else module}.{name}" if module else use)
    return found


def _missing(module: str, system: str) -> frozenset[str]:
    if module in names.DIFFERENT:
        return names.missing(module, system)
    given = _given() if system == "windows" else frozenset()
    return names.missing("os", system) - given if module == "given os" else frozenset()


def _given() -> frozenset[str]:
    """What `yoloscope_record.system.windows` puts in the place of what Windows lacks."""
    tree = ast.parse((ROOT / "trainer_hooks/yoloscope_record/system/windows.py").read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return frozenset({*functions, "getuid", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_only_the_seam_asks_for_what_linux_alone_has(path: Path) -> None:
    """No module but the seam imports or uses what Windows or macOS lacks, but for the reasons above."""
    place = "/".join(path.relative_to(ROOT).parts[1:])
    found = linux_only(ast.parse(path.read_text(encoding="utf-8")))
    assert found == REASONS.get(place, set())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import fcntl", {"fcntl"}),
        ("def f():\n    import pwd", {"pwd"}),
        ("from resource import getrusage", {"resource.getrusage"}),
        ("from _ctypes import dlclose", {"_ctypes.dlclose"}),
        ("import os\nos.pread(0, 1, 0)", {"os.pread"}),
        ("import os\nos.posix_fallocate(0, 0, 1)", {"os.posix_fallocate"}),
        ("import os as system\nX = system.O_NOFOLLOW", {"os.O_NOFOLLOW"}),
        ("from yoloscope_record.system import os\nos.pread(0, 1, 0)", set()),
        ("from yoloscope_record.system import os\nos.fork()", {"os.fork"}),
        ("from yoloscope_record.system import os\nos.posix_fallocate(0, 0, 1)", {"os.posix_fallocate"}),
        ("import signal\nsignal.signal(signal.SIGHUP, None)", {"signal.SIGHUP"}),
        ("import signal\nsignal.signal(signal.SIGTERM, None)", set()),
        ("if TYPE_CHECKING:\n    import resource", set()),
        ("import signal\nX = getattr(signal, 'SIGHUP', None)", set()),
    ],
)
def test_what_the_check_sees(source: str, found: set[str]) -> None:
    """It finds imports and names wherever they are, and lets pass what is there on every system."""
    assert linux_only(ast.parse(source)) == found


def test_every_reason_is_of_a_file() -> None:
    """A file that was renamed takes its reason with it."""
    assert REASONS.keys() <= {"/".join(path.relative_to(ROOT).parts[1:]) for path in FILES}


def asks(path: Path) -> bool:
    """Whether a file asks which system this is."""
    text = path.read_text(encoding="utf-8")
    return any(word in text for word in ("sys.platform", "os.name", "platform.system("))


def test_nobody_else_asks_which_system_it_is() -> None:
    """Files outside the seam go by what is there."""
    assert [path for path in FILES if asks(path)] == []
