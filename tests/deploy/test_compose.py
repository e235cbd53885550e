"""The Compose file: valid by the specification, pinned, closed by default, and pointing at files that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml
from yoloscope_exporter.commands import notify
from yoloscope_exporter.commands.simulate import App, simulate, target_groups
from yoloscope_exporter.simulation import fleet

from tests.conftest import require_binary

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose"
DOCKERFILE = ROOT / "deploy/docker/exporter.Dockerfile"
_VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


def _load() -> dict[str, Any]:
    """Compose's own reading of the file: anchors merged, variables replaced by their defaults."""
    text = (COMPOSE / "compose.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(r"\1", text))
    return loaded


def _validate(compose: dict[str, Any]) -> compose_spec.PyCompose:
    parsed = compose_spec.PyCompose.from_json(json.dumps(compose))
    parsed.validate()
    return parsed


@pytest.fixture
def services() -> dict[str, Any]:
    """The services by name."""
    found: dict[str, Any] = _load()["services"]
    return found


def test_follows_the_compose_specification() -> None:
    """The file is valid, and references between services, networks, volumes and secrets hold."""
    assert set(_validate(_load()).service_names()) == {
        "exporter",
        "exporter-cpu",
        "simulator",
        "prometheus",
        "alertmanager",
        "notify",
        "grafana",
    }


@pytest.mark.parametrize(
    ("where", "key"), [((), "servces"), (("services", "grafana"), "healtcheck"), (("volumes",), "x y")]
)
def test_validator_notices_mistakes(where: tuple[str, ...], key: str) -> None:
    """The validation can fail: a misspelt key is refused."""
    compose = _load()
    target = compose
    for part in where:
        target = target[part]
    target[key] = {"nonsense": 1}
    with pytest.raises(ValueError, match=r".+"):
        _validate(compose)


def test_images_are_pinned(services: dict[str, Any]) -> None:
    """Every image names a full version."""
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_nothing_runs_with_privileges(services: dict[str, Any]) -> None:
    """Every container drops all capabilities, cannot gain any and cannot write to its image."""
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert not service.get("privileged"), name


def test_ports_stay_on_the_machine(services: dict[str, Any]) -> None:
    """Published ports are bound to the loopback address unless somebody says otherwise."""
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_password_in_the_file(services: dict[str, Any]) -> None:
    """Grafana takes the password from a file in its own volume, nobody gets in without one, nobody signs up."""
    environment = services["grafana"]["environment"]
    (volume,) = (each for each in services["grafana"]["volumes"] if each["type"] == "volume")
    assert Path(environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]).is_relative_to(volume["target"])
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment


def _first_start(services: dict[str, Any], password: Path, run: Path) -> str:
    """What Grafana's own start script, of which `run` takes the place, is given."""
    run.write_text('#!/bin/sh\ncat "$GF_SECURITY_ADMIN_PASSWORD__FILE"\n', encoding="utf-8")
    run.chmod(0o755)
    command = [part.replace("$$", "$").replace("/run.sh", f"'{run}'") for part in services["grafana"]["entrypoint"]]
    environment = {"GF_SECURITY_ADMIN_PASSWORD__FILE": str(password), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_first_start_makes_a_password(services: dict[str, Any], tmp_path: Path) -> None:
    """There is one, for nobody else to read; the next start keeps it, another machine has its own."""
    first, other = tmp_path / "password", tmp_path / "other"
    made = _first_start(services, first, tmp_path / "run.sh")
    assert re.fullmatch(r"[A-Za-z0-9+/]{24}\n", made)
    assert first.stat().st_mode & 0o777 == 0o600
    assert _first_start(services, first, tmp_path / "run.sh") == made
    assert _first_start(services, other, tmp_path / "run.sh") != made


def _started() -> dict[str, dict[str, Any]]:
    """The services of a plain `docker compose up` in a fresh clone."""
    (profiles,) = re.findall(r"(?m)^COMPOSE_PROFILES=(.*)$", (COMPOSE / ".env").read_text(encoding="utf-8"))
    chosen = set(profiles.split(","))
    every = _load()["services"]
    return {name: one for name, one in every.items() if chosen & set(one.get("profiles", chosen))}


def test_starts_on_any_machine_without_preparation() -> None:
    """It needs no GPU and no file that the repository does not have."""
    assert "exporter-cpu" in _started()
    for name, service in _started().items():
        assert "devices" not in service.get("deploy", {}).get("resources", {}).get("reservations", {}), name
    compose = _load()
    files = [one["file"] for part in ("secrets", "configs") for one in compose.get(part, {}).values()]
    assert [file for file in files if not (COMPOSE / file).exists()] == []


def test_every_service_has_a_health_check(services: dict[str, Any]) -> None:
    """Compose can wait for each of them; the exporter's check is in its image."""
    assert "HEALTHCHECK" in (ROOT / "deploy/docker/exporter.Dockerfile").read_text(encoding="utf-8")
    for name in ("prometheus", "alertmanager", "notify", "grafana"):
        assert services[name]["healthcheck"]["test"][0] == "CMD", name


def test_exporter_sees_the_host(services: dict[str, Any]) -> None:
    """Both variants see the root, /proc, /sys, the records and the host's pids; the GPU variant all GPUs."""
    for name in ("exporter", "exporter-cpu"):
        volumes = services[name]["volumes"]
        mounts = {volume["source"]: volume for volume in volumes if volume["type"] == "bind"}
        assert set(mounts) == {"/", "/proc", "/sys", "/dev/shm"}
        assert all(volume["read_only"] for volume in mounts.values())
        assert services[name]["pid"] == "host"
        assert services[name]["environment"]["YOLOSCOPE_DIR"].startswith(mounts["/dev/shm"]["target"])
    (device,) = services["exporter"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu", "utility"]}


def test_counters_of_energy_outlive_the_container(services: dict[str, Any]) -> None:
    """They are kept in a volume, at a path that the image has made for the exporter's user."""
    for name in ("exporter", "exporter-cpu"):
        (path,) = [volume["target"] for volume in services[name]["volumes"] if volume["type"] == "volume"]
        assert f"--path.state={path}" in services[name]["command"]
        assert f"install -d -o 65534 -g 65534 {path}" in DOCKERFILE.read_text(encoding="utf-8")


def test_alertmanager_reaches_notify(services: dict[str, Any]) -> None:
    """In its network, at the address of the shipped configuration; what waits outlives the container."""
    service = services["notify"]
    assert service["network_mode"] == "service:alertmanager"
    options = notify.notify.make_context("notify", service["command"][1:]).params
    config = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text(encoding="utf-8")
    assert f"http://{options['listen']}/alerts" in config
    (volume,) = service["volumes"]
    assert service["environment"]["YOLOSCOPE_NOTIFY_QUEUE"] == volume["target"]
    assert f"install -d -o 65534 -g 65534 {volume['target']}" in DOCKERFILE.read_text(encoding="utf-8")
    assert set(service["environment"]) <= {option.envvar for option in notify.notify.params}


def test_targets_name_the_exporter(services: dict[str, Any]) -> None:
    """The scrape target is the exporter's name and port inside the network, whichever variant runs."""
    (group,) = yaml.safe_load((COMPOSE / "targets/exporter.yml").read_text(encoding="utf-8"))
    assert group["targets"] == ["exporter:9911"]
    assert services["exporter"]["expose"] == ["9911"]
    assert services["exporter-cpu"]["networks"]["monitoring"]["aliases"] == ["exporter"]


def test_simulated_targets_are_what_the_simulator_serves(services: dict[str, Any]) -> None:
    """Every node of the simulator has its target; Prometheus reads them once they are copied, and not before."""
    service = services["simulator"]
    options = simulate.make_context("simulate", service["command"][1:]).params
    nodes = App(fleet(options["scenarios"], options["nodes"], 1, start=0.0), lambda: 0.0)
    port = service["expose"][0]
    assert options["listen"].port == int(port)
    written = yaml.safe_load((COMPOSE / "targets/simulated.yml").read_text(encoding="utf-8"))
    assert written == target_groups(nodes, f"simulator:{port}")
    assert not fnmatch("simulated.yml", "exporter*.yml")


def test_mounted_files_exist(services: dict[str, Any]) -> None:
    """What the containers are given from the repository is there."""
    for name in ("prometheus", "alertmanager", "grafana"):
        sources = [volume["source"] for volume in services[name]["volumes"] if volume["type"] == "bind"]
        assert sources
        for source in sources:
            assert (COMPOSE / source).exists(), source


def test_prometheus_is_happy_with_what_is_mounted(services: dict[str, Any], tmp_path: Path) -> None:
    """The configuration, the rules and the targets fit together where the container finds them."""
    for volume in services["prometheus"]["volumes"]:
        if volume["type"] == "bind":
            source, target = COMPOSE / volume["source"], tmp_path / volume["target"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    configuration = tmp_path / "etc/prometheus/prometheus.yml"
    subprocess.run([require_binary("promtool"), "check", "config", configuration], check=True, capture_output=True)
    patterns = re.findall(r"files: \[(\S+)\]", configuration.read_text(encoding="utf-8"))
    assert len(patterns) == 2
    assert all(list(configuration.parent.glob(pattern)) for pattern in patterns)


def test_home_dashboard_is_mounted(services: dict[str, Any]) -> None:
    """Grafana's home dashboard and every provisioned folder lie where the dashboards are mounted."""
    mounts = {Path(v["target"]): COMPOSE / v["source"] for v in services["grafana"]["volumes"] if v["type"] == "bind"}
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    target = next(target for target in mounts if home.is_relative_to(target))
    assert (mounts[target] / home.relative_to(target)).is_file()
    provisioning = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/yoloscope.yaml").read_text("utf-8"))
    assert all(Path(provider["options"]["path"]).is_relative_to(target) for provider in provisioning["providers"])
