"""What is hidden of users is hidden everywhere, and what is left of it adds up."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.cli import main
from yoloscope_exporter.config import PRIVATE
from yoloscope_exporter.sampling.privacy import LABELS, hidden_labels, hide

from tests.exporter.test_serve import exporter, get, process, wait_for

if TYPE_CHECKING:
    from pathlib import Path

PATHS = ("/metrics", "/", "/api/v1/runs", "/api/v1/run?run=x", "/api/v1/gpus", "/api/v1/events", "/api/v1/diagnosis")
SECRETS = {"user": "user-of-the-record", "data": "data-of-the-run", "command": "callback-of-the-run"}

TRAINER = """
import sys, time
from yoloscope_record import catalog, paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
facts = {"data": "data-of-the-run", "model": "data-of-the-run", "slurm_job_user": "user-of-the-record",
         "slurm_job_id": "7"}
base = paths.make_own(paths.make_directory(paths.directory()))
made = Writer(paths.run_directory(base, "x") / "rank-0.rec", Identity("x"), facts)
slot = made.slot(catalog.TRAIN_CALLBACK_SECONDS_TOTAL, "x", "0", "callback-of-the-run")
made.begin(); made.values[slot] = 1.0; made.set_state("train"); made.end(time.time())
print("ready", flush=True)
time.sleep(600)
"""


def test_words_and_labels_agree() -> None:
    """The setting takes what there is to hide, and every label of it exists."""
    assert set(PRIVATE) == LABELS.keys()
    known = {label for metric in catalog.METRICS for label in metric.labels}
    assert hidden_labels(PRIVATE) <= known


def test_what_differs_by_a_hidden_label_is_one() -> None:
    """Counters are added up, of others the largest stands; what has no such label is as it was."""
    total, gauge, other = catalog.RECORDS_REFUSED_TOTAL, catalog.TRAIN_SLOW_FILE_SECONDS, catalog.TRAIN_UP
    samples = [
        *(Sample(total, ("magic", user), 2.0) for user in "ab"),
        *(Sample(gauge, ("x", "0", file), number) for file, number in (("/a", 3.0), ("/b", 1.0))),
        Sample(other, ("x", "0"), 1.0),
    ]
    found = {(one.metric.name, one.labels): one.value for one in hide(samples, hidden_labels(["user", "data"]))}
    assert found == {
        (total.name, ("magic", "")): 4.0,
        (gauge.name, ("x", "0", "")): 3.0,
        (other.name, ("x", "0")): 1.0,
    }


@pytest.mark.parametrize("hidden", [(), ("user",), ("data",), ("command",), ("user", "command", "data")])
def test_nothing_hidden_is_served(tmp_path: Path, hidden: tuple[str, ...]) -> None:
    """Neither as metrics nor on the page nor in the JSON; everything else is."""
    environment = {"YOLOSCOPE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        process(sys.executable, "-c", TRAINER, **environment) as trainer,
        exporter(f"--privacy={','.join(hidden)}", **environment) as (_, url),
    ):
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "ready\n"
        wait_for(lambda: 'train_up{rank="0",run="x"} 1' in get(f"{url}/metrics")[1], 20)
        served = [get(f"{url}{path}")[1] for path in PATHS]
    for word, secret in SECRETS.items():
        assert any(secret in text for text in served) is (word not in hidden), word
    json.loads(served[-1])


def test_unknown_words_are_refused() -> None:
    """With those that there are."""
    result = CliRunner().invoke(main, ["check", "--privacy", "user,name"])
    assert result.exit_code == 2
    assert "allowed are user, command, data" in result.output
