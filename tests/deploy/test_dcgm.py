"""The rules that translate dcgm-exporter's names: what they give has the catalogue's names, labels and units."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from yoloscope_exporter.catalog import BY_NAME

from tests.conftest import require_binary

DCGM = Path(__file__).parents[2] / "deploy/dcgm"
GROUP = yaml.safe_load((DCGM / "rules.yml").read_text(encoding="utf-8"))["groups"][0]
#: Added by Prometheus or by the scrape configuration.
TARGET = {"cluster", "job", "instance"}
_SERIES = 'DCGM_FI_DEV_{}{{instance="a:9911",gpu="0",UUID="GPU-1",modelName="H100",Hostname="a",job="dcgm"}}'


def _labels(rule: dict[str, Any]) -> set[str]:
    grouped = re.findall(r"max by \(([^)]*)\)", rule["expr"])
    return {name.strip() for name in grouped[0].split(",")} | set(rule["labels"])


@pytest.mark.parametrize("rule", GROUP["rules"], ids=lambda rule: f"{rule['record']}-{len(rule['labels'])}")
def test_rules_speak_the_catalogue(rule: dict[str, Any]) -> None:
    """Every recorded name is in the catalogue, with exactly its labels; facts that DCGM lacks may be missing."""
    metric = BY_NAME[rule["record"]]
    missing = set(metric.labels) - _labels(rule)
    assert _labels(rule) - TARGET <= set(metric.labels)
    assert missing <= ({"cuda"} if metric.kind == "info" else set())


def test_promtool_accepts_the_rules() -> None:
    """Within the syntax of the oldest Prometheus supported."""
    subprocess.run([require_binary("promtool"), "check", "rules", DCGM / "rules.yml"], check=True, capture_output=True)


def test_values_have_base_units(tmp_path: Path) -> None:
    """A busy GPU of DCGM, in per cent, MiB, MHz and millijoules, is the same GPU in ratios, bytes, hertz and joules."""
    inputs = {
        "GPU_UTIL": "80x40",
        "GPU_TEMP": "65x40",
        "FB_USED": "1024x40",
        "FB_FREE": "3072x40",
        "SM_CLOCK": "1980x40",
        "POWER_USAGE": "500x40",
        "TOTAL_ENERGY_CONSUMPTION": "1000000+7500000x40",
    }
    here = 'gpu="0",instance="a:9911",job="yoloscope"'
    expected = {
        "yoloscope_gpu_utilization_ratio": (f"{{{here}}}", 0.8),
        "yoloscope_gpu_memory_used_bytes": (f"{{{here}}}", float(1 << 30)),
        "yoloscope_gpu_memory_total_bytes": (f"{{{here}}}", float(4 << 30)),
        "yoloscope_gpu_power_watts": (f"{{{here}}}", 500.0),
        "yoloscope_gpu_clock_hertz": (f'{{domain="sm",{here}}}', 1.98e9),
        "yoloscope_gpu_temperature_celsius": (f'{{{here},sensor="core"}}', 65.0),
        "yoloscope_gpu_info": (f'{{name="H100",uuid="GPU-1",{here}}}', 1.0),
        # the counters: 80 % of every second, 500 W
        "rate(yoloscope_gpu_busy_seconds_total[2m])": (f"{{{here}}}", 0.8),
        "rate(yoloscope_gpu_energy_joules_total[2m])": (f"{{{here}}}", 500.0),
    }
    tests = [
        {
            "expr": expr,
            "eval_time": "8m",
            "exp_samples": [{"labels": (expr if "(" not in expr else "") + labels, "value": value}],
        }
        for expr, (labels, value) in expected.items()
    ]
    case = {
        "rule_files": [str(DCGM / "rules.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": _SERIES.format(name), "values": values} for name, values in inputs.items()],
                "promql_expr_test": tests,
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(case), encoding="utf-8")
    done = subprocess.run(
        [require_binary("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_busy_counter_never_goes_backwards(tmp_path: Path) -> None:
    """Through idle times, a pause of the dcgm-exporter and back it only grows."""
    case = {
        "rule_files": [str(DCGM / "rules.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": _SERIES.format("GPU_UTIL"), "values": "100x20 0x20 _x40 50x40"}],
                "promql_expr_test": [
                    {
                        "expr": "resets(yoloscope_gpu_busy_seconds_total[30m])",
                        "eval_time": "30m",
                        "exp_samples": [{"labels": '{gpu="0",instance="a:9911",job="yoloscope"}', "value": 0}],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(case), encoding="utf-8")
    done = subprocess.run(
        [require_binary("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_scrape_gives_both_exporters_one_instance(tmp_path: Path) -> None:
    """Promtool's discovery shows the dcgm-exporter's port replaced by yoloscope's."""
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/dcgm-exporter.yml").write_text("- targets: [gpu-17:9400]\n", encoding="utf-8")
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text((DCGM / "scrape.yml").read_text(encoding="utf-8"), encoding="utf-8")
    promtool = require_binary("promtool")
    subprocess.run([promtool, "check", "config", configuration], check=True, capture_output=True)
    command = [promtool, "check", "service-discovery", "--timeout=2s", configuration, "dcgm-exporter"]
    found = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found[0]["labels"]["instance"] == "gpu-17:9911"
