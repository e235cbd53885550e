"""Whose a run is, what it holds and draws, and what that costs: the recording rules, evaluated by promtool."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from deploy.prometheus import generate
from deploy.prometheus.rulebook import records
from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

TARGET = 'job="yoloscope",instance="node1:9911"'
FACTS = 'task="detect",model="yolo11m.pt",user="{user}",slurm_job_id="{job}",pod="{pod}"'


def rank(
    run: str, gpu: int, watts: int, *, user: str = "root", job: str = "", pod: str = "", alive: int = 1
) -> dict[str, int]:
    """Series of a run of one rank on one GPU."""
    own = f'{TARGET},run="{run}",rank="0"'
    return {
        f"yoloscope_train_run_info{{{own},{FACTS.format(user=user, job=job, pod=pod)}}}": 1,
        f"yoloscope_train_up{{{own}}}": alive,
        f'yoloscope_train_device_info{{{own},gpu="{gpu}",uuid="GPU-{gpu}"}}': 1,
        f'yoloscope_gpu_power_watts{{{TARGET},gpu="{gpu}"}}': watts,
    }


def recorded(folder: Path, series: Mapping[str, int | str], asked: str, expected: Mapping[str, float]) -> None:
    """Whether the shipped rules make `expected` of the series, by the text of the labels."""
    rules = generate.recording()
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    test: dict[str, Any] = {
        "interval": "15s",
        "input_series": [{"series": name, "values": f"{value}x20"} for name, value in series.items()],
        "promql_expr_test": [
            {
                "expr": asked,
                "eval_time": "4m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()],
            }
        ],
    }
    content = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(content))
    command = [require_binary("promtool"), "test", "rules", "test.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_owner_is_the_jobs_user_else_the_processs(tmp_path: Path) -> None:
    """Slurm's user and job, a pod with its namespace, or the user of the process alone."""
    slurm = f'yoloscope_train_job_info{{{TARGET},run="a b",rank="0",slurm_job_id="17",slurm_job_user="lili"}}'
    pod = f'yoloscope_train_job_info{{{TARGET},run="训练/1",rank="0",namespace="vision",pod="worker-0"}}'
    series = {
        **rank("a b", 0, 300, job="17"),
        **rank("训练/1", 1, 300, pod="worker-0"),
        **rank("alone", 2, 300, user="chen"),
        slurm: 1,
        pod: 1,
    }
    expected = {
        '{run="a b", user="lili", workload="17"}': 1.0,
        '{run="训练/1", user="root", workload="vision/worker-0"}': 1.0,
        '{run="alone", user="chen"}': 1.0,
    }
    recorded(tmp_path, series, f"sum by (run, user, workload) ({records.RUN_OWNER})", expected)


def test_a_run_holds_and_draws_while_it_lives(tmp_path: Path) -> None:
    """GPUs and power of its living ranks; what a dead one had is somebody else's."""
    series = {**rank("living", 0, 300), **rank("dead", 1, 500, alive=0)}
    recorded(tmp_path, series, f"sum by (run) ({records.RUN_GPUS_HELD})", {'{run="living"}': 1.0})
    recorded(tmp_path, series, f"sum by (run) ({records.RUN_GPU_POWER})", {'{run="living"}': 300.0})


def test_a_mig_instance_is_held_as_its_part_of_a_gpu(tmp_path: Path) -> None:
    """Where the exporter says how much that is; else it counts as a GPU, as it did before it was told."""
    series: dict[str, int | str] = {**rank("small", 0, 300), **rank("untold", 1, 300)}
    series[f'yoloscope_gpu_part_ratio{{{TARGET},gpu="0"}}'] = "0.25+0"
    expected = {'{run="small"}': 0.25, '{run="untold"}': 1.0}
    recorded(tmp_path, series, f"sum by (run) ({records.RUN_GPUS_HELD})", expected)


def test_a_shared_gpu_is_counted_once(tmp_path: Path) -> None:
    """By what the exporter counts for each rank, which adds up to what the GPU draws."""
    series: dict[str, int | str] = {**rank("one", 0, 400), **rank("other", 0, 400)}
    for run, watts in (("one", 300), ("other", 100)):
        counted = f'yoloscope_train_energy_joules_total{{{TARGET},run="{run}",rank="0",source="gpu"}}'
        series[counted] = f"0+{15 * watts}"
    expected = {'{run="one"}': 300.0, '{run="other"}': 100.0}
    recorded(tmp_path, series, f"sum by (run) ({records.RUN_GPU_POWER})", expected)


def test_prices_are_recorded_only_if_they_are_known() -> None:
    """A price that nobody said would be a wrong figure on a dashboard."""
    assert not [path for path in generate.outputs(generate.Settings()) if path.name == "prices.yml"]
    settings = generate.Settings(prices=((records.PRICE_KWH, 0.2), (records.CO2_KWH, 0.4)))
    (text,) = (text for path, text in generate.outputs(settings).items() if path.name == "prices.yml")
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    assert rules == [
        {"record": "yoloscope_price_per_kwh", "expr": "vector(0.2)"},
        {"record": "yoloscope_co2_kilograms_per_kwh", "expr": "vector(0.4)"},
    ]


def test_what_is_not_given_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives the address of Grafana, then that of the runbook, then prices, has all of them."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    folder = tmp_path / "deploy/prometheus/rules"

    def run(*arguments: str) -> tuple[str, str, bool]:
        monkeypatch.setattr("sys.argv", ["generate", *arguments])
        assert generate.main() == 0
        settings = generate.stored(folder / "alerts.yml")
        return settings.grafana_url, settings.runbook_url, (folder / "prices.yml").exists()

    grafana, runbook = "https://grafana.example.com/path", "https://wiki.example.com/alerts"
    usual = generate.Settings()
    assert run() == (usual.grafana_url, usual.runbook_url, False)
    assert run(f"--grafana-url={grafana}/") == (grafana, usual.runbook_url, False)
    assert run(f"--runbook-url={runbook}") == (grafana, runbook, False)
    assert run("--price-per-kwh=0.2") == (grafana, runbook, True)
    assert run("--grafana-url=https://other.example.com") == ("https://other.example.com", runbook, True)
    assert f"{runbook}#" in (folder / "alerts.yml").read_text(encoding="utf-8")
