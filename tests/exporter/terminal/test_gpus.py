"""GPUs on the screen of `top`, and who uses them."""

from __future__ import annotations

import io

from rich.console import Console, Group
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.terminal.courses import Courses
from yoloscope_exporter.terminal.gpus import gpus, processes

GIB = 2**30


def shown(*samples: Sample) -> list[str]:
    """The lines."""
    store = Store()
    store.add(10.0, [Sample(catalog.GPU_INFO, ("0", "uuid", "H100", "550", "12.4", "bus"), 1.0), *samples])
    window = Window(store, 0.0, 10.0)
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(Group(*gpus(window, Courses(window))))
    output = console.file
    assert isinstance(output, io.StringIO)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def held(pid: str, gib: float, run: str = "", user: str = "li", command: str = "python") -> Sample:
    """A process that holds memory."""
    return Sample(catalog.GPU_PROCESS_MEMORY_BYTES, ("0", pid, command, run, "0" if run else "", user), gib * GIB)


def test_processes_with_their_users() -> None:
    """Those that hold the most first: whose, how much of the memory and of the time, and which run it is."""
    share = Sample(catalog.GPU_PROCESS_SM_RATIO, ("0", "4711", "python", "train/a", "0", "wang"), 0.83)
    lines = shown(held("815", 2.0), held("4711", 31.5, "train/a", "wang"), share)
    assert lines[1:] == [
        "GPU 0   31.5 GiB  83% wang       PID 4711  python  train/a · rank 0",
        "GPU 0    2.0 GiB      li         PID 815  python",
    ]


def test_what_is_not_known_of_a_process_is_left_out() -> None:
    """One of another container has neither a name nor a user; no zeros are made up."""
    assert shown(held("9", 1.0, user="", command=""))[1:] == ["GPU 0    1.0 GiB      -          PID 9"]


def test_many_processes_are_counted() -> None:
    """A few lines, and how many more there are."""
    lines = shown(*(held(str(pid), pid) for pid in range(1, 10)))
    assert [line.split("PID ")[1].split()[0] for line in lines if "PID" in line] == ["9", "8", "7", "6"]
    assert lines[-1].strip() == "and 5 more processes"


def test_nobody_is_on_an_idle_gpu() -> None:
    """No line."""
    window = Window(Store(), 0.0, 10.0)
    assert processes(window, "0") == []
    assert list(gpus(window, Courses(window))) == []
