"""What `yoloscope top` shows, at 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.style import Style
from yoloscope_exporter import catalog, colours
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.terminal import plain, screen

from tests.recordings.model import Plan, moments

if TYPE_CHECKING:
    from yoloscope_exporter.terminal.screen import Event

PLAN = Plan(workers=2, prep=0.9, epochs=1, batches=200, end="running", ranks=2)


def shown(plan: Plan, events: tuple[Event, ...] = (), width: int = 80, *, coloured: bool = False) -> str:
    """The last frame of a plan, as text."""
    watching, store = Live(), Store()
    for time, samples in moments(plan, 1.0):
        watching.feed(time, samples)
        store.add(time, samples)
    colour_system: Any = "truecolor" if coloured else None
    console = Console(file=io.StringIO(), width=width, color_system=colour_system, force_terminal=coloured or None)
    windows = screen.windows(store, store.last)
    console.print(screen.frame(screen.Moment(*windows, watching.diagnoses, events, "node7:9911", timezone.utc)))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_colours_are_those_of_the_dashboards() -> None:
    """The verdict's severity and the phase that waits, as a terminal of 24 bits draws them."""
    for cached in (Style.parse, Style._add):  # a style keeps the codes of the first terminal that drew it
        cached.cache_clear()
    text = shown(PLAN, coloured=True)
    for colour in (colours.VERDICTS["loader_workers"], colours.PHASES["data_wait"], colours.PHASES["forward"]):
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        assert f"38;2;{red};{green};{blue}m" in text


def test_verdict_first_then_the_rest() -> None:
    """Head, verdict with its remedy, anatomy, workers, GPUs."""
    lines = shown(PLAN).splitlines()
    assert "node7:9911" in lines[0]
    assert lines[1].startswith("train/yolo11m · rank 0")
    assert lines[2].startswith("loader_workers")
    order = [
        next(i for i, line in enumerate(lines) if word in line) for word in ("fix  workers=", "data_wait", "worker 1")
    ]
    assert order == sorted(order)
    assert any(line.startswith("GPUs") for line in lines)
    assert any("38.5/80.0 GiB" in line and "rank 1" in line for line in lines)


def test_a_death_is_told_with_its_cause() -> None:
    """And what to do about it; `killed` alone helps nobody."""
    text = shown(replace(PLAN, ranks=1, end="killed", stop=100, oom_killed=1))
    assert "  cause out_of_memory_kill: the kernel's OOM killer" in text
    assert text.index("killed") < text.index("  cause ") < text.index("  fix  ")


def test_it_fits_80_columns() -> None:
    """No line is cut or wider than the terminal, however long names are."""
    text = shown(replace(PLAN, run="runs/detect/a-very-long-name-of-an-experiment-with-many-words-in-it-and-more"))
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_is_shown_for_what_is_missing() -> None:
    """Without GPUs there is no list of them, and no zeros."""
    text = shown(replace(PLAN, gpu=False))
    assert "GPUs" not in text
    assert "None" not in text


def test_a_gpu_that_shares_the_nodes_memory() -> None:
    """No figure is made up for it; the head tells the node's memory."""
    without = (catalog.GPU_MEMORY_TOTAL_BYTES, catalog.GPU_MEMORY_USED_BYTES)
    text = shown(replace(PLAN, without=without))
    assert "shares the node's" in text
    assert "of 256.0 GiB" in text.splitlines()[0]
    assert "shares the node's" not in shown(PLAN)


def test_gpus_in_trouble() -> None:
    """A lost GPU keeps a row; what holds clocks down, ECC errors and Xids are told of each GPU that has them."""
    store = Store()
    for time in range(10):
        store.add(
            time,
            [
                Sample(catalog.GPU_INFO, ("0", "uuid", "H100", "550", "12.4", "bus"), 1.0),
                Sample(catalog.GPU_UP, ("0",), 1.0),
                Sample(catalog.GPU_UP, ("2",), 0.0),
                Sample(catalog.GPU_THROTTLED, ("0", "hw_thermal_slowdown"), 1.0),
                Sample(catalog.GPU_THROTTLED, ("0", "sw_power_cap"), 0.0),
                Sample(catalog.GPU_ECC_ERRORS_TOTAL, ("0", "uncorrected"), 2.0),
                Sample(catalog.GPU_INFO, ("2", "uuid2", "H100", "550", "12.4", "bus2"), 1.0),
                Sample(catalog.GPU_XID_ERRORS_TOTAL, ("2", "79"), 1.0),
                Sample(catalog.GPU_INFO, ("1", "uuid1", "H100", "550", "12.4", "bus1"), 1.0),
                Sample(catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, ("1",), 1.0),
                Sample(catalog.GPU_RECOVERY_ACTION, ("1",), 2.0),
                Sample(catalog.GPU_FABRIC_FAULT, ("1", "route_unhealthy"), 1.0),
                Sample(catalog.GPU_FABRIC_FAULT, ("1", "degraded_bandwidth"), 0.0),
                Sample(catalog.GPU_RECOVERY_ACTION, ("0",), 0.0),
            ],
        )
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(screen.frame(screen.Moment(*screen.windows(store, 9))))
    output = console.file
    assert isinstance(output, io.StringIO)
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    assert "2 lost" in lines
    assert "GPU 0: throttled by hw_thermal_slowdown; 2 uncorrected ECC errors" in lines
    assert "GPU 2: Xid 79" in lines
    told = " ".join(lines)
    assert "GPU 1: more SRAM errors than NVIDIA allows; the driver asks for node_reboot; NVLink fabric:" in told
    assert "route_unhealthy" in told
    assert "degraded_bandwidth" not in told


def test_names_are_no_markup_anywhere() -> None:
    """Of runs, ranks, workers, losses and phases: a record may say anything, and the others are shown all the same."""
    hostile = ("[/red]", "[bold", ":bomb:", "[link=http://evil]x[/link]", "\\[/]")
    store = Store()
    for second in range(10):
        samples = []
        for name in hostile:
            who = (name, name)
            samples += [
                Sample(catalog.TRAIN_UP, who, 1.0),
                Sample(catalog.TRAIN_STATE, (*who, "train"), 1.0),
                Sample(catalog.TRAIN_BATCHES_TOTAL, who, 10.0 * second),
                Sample(catalog.TRAIN_PHASE_SECONDS_TOTAL, (*who, "forward"), 1.0 * second),
                Sample(catalog.TRAIN_LOSS, (*who, name), 1.0),
                Sample(catalog.TRAIN_WORKER_BATCHES_TOTAL, (*who, name), 10.0 * second),
                Sample(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, (*who, name), 1.0 * second),
            ]
        store.add(1_790_000_000.0 + second, samples)
    console = plain.console(file=io.StringIO(), width=100, color_system=None)
    console.print(screen.frame(screen.Moment(*screen.windows(store, store.last))))
    output = console.file
    assert isinstance(output, io.StringIO)
    for name in hostile:
        assert f"{name} · rank {name}" in output.getvalue()
        assert f"worker {name}" in output.getvalue()


def test_times_are_local_ones() -> None:
    """With the offset at the top, so that nobody has to guess; here an hour and a half east of Greenwich."""
    store, zone = Store(), timezone(timedelta(hours=1, minutes=30))
    store.add(1_790_000_000.0, [Sample(catalog.TRAIN_UP, ("a", "0"), 1.0)])
    event = screen.Event(1_790_000_000.0, "something")
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(screen.frame(screen.Moment(*screen.windows(store, store.last), (), [event], zone=zone)))
    output = console.file
    assert isinstance(output, io.StringIO)
    lines = output.getvalue().splitlines()
    assert lines[0].startswith("15:43:20+01:30")
    assert any(line.startswith("15:43:20 something") for line in lines)


def test_the_last_minutes_as_sparklines() -> None:
    """Of images per second and of waiting, as far as they are known."""
    (line,) = [line for line in shown(replace(PLAN, ranks=1)).splitlines() if "the last 5 min" in line]
    images, waiting = line.partition("images/s")[2].split("waiting")
    assert 3 <= len(images.strip()) <= 20
    assert set(waiting.strip()) <= set("▁▂▃▄▅▆▇█")
    assert max(waiting.strip()) > "▁"  # it waits


def test_samples_far_apart_get_longer_windows() -> None:
    """Scraped every minute: six samples for figures, three for each part of a sparkline."""
    now, past = screen.windows(Store(), 1e6, 60.0)
    assert (now.seconds, past.seconds) == (360.0, 3600.0)
    now, past = screen.windows(Store(), 1e6, 1.0)
    assert (now.seconds, past.seconds) == (60.0, 300.0)


def test_ranks_are_sorted_as_numbers() -> None:
    """And not as words, where 10 comes before 2."""
    store = Store()
    store.add(5.0, [Sample(catalog.TRAIN_UP, ("a", rank), 1.0) for rank in ("10", "2", "0")])
    assert screen.Moment(*screen.windows(store, 5.0)).ranks() == [("a", "0"), ("a", "2"), ("a", "10")]


def test_names_are_no_markup() -> None:
    """A run's name cannot colour the screen."""
    assert "[red]x[/red]" in shown(replace(PLAN, run="[red]x[/red]", batches=20))


def test_without_training_it_says_what_to_do() -> None:
    """An idle node."""
    console = Console(file=io.StringIO(), width=80)
    console.print(screen.frame(screen.Moment(*screen.windows(Store(), 60))))
    output = console.file
    assert isinstance(output, io.StringIO)
    assert "yoloscope run --" in output.getvalue()


def test_changes_become_events() -> None:
    """States entered, verdicts begun and ended, each once."""
    watching, told, events = Live(), (), []
    for time, samples in moments(replace(PLAN, end="killed", batches=120, oom_killed=1), 1.0):
        watching.feed(time, samples)
        events += list(screen.changes(time, told, watching.diagnoses))
        told = watching.diagnoses
    texts = [event.text for event in events if "rank 0" in event.text]
    assert "train/yolo11m rank 0: loader_workers began" in texts
    assert "train/yolo11m rank 0: killed began, out_of_memory_kill" in texts
    assert texts.count("train/yolo11m rank 0: train") == 1
    assert "killed" in shown(PLAN, tuple(events))
