"""The Helm chart, the kustomize base made from it, and the examples: valid, closed, pinned, and as committed."""

from __future__ import annotations

import json
import operator
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from yoloscope_exporter import __version__
from yoloscope_exporter.commands.notify import notify
from yoloscope_exporter.commands.serve import serve

from deploy.helm import generate
from deploy.prometheus import generate as rules
from deploy.prometheus.rulebook import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deploy.prometheus.rulebook.records import Recorded

ROOT = Path(__file__).parents[2]
CRDS = Path(__file__).parent / "crds"
EXAMPLES = sorted((ROOT / "deploy/helm/examples").glob("*.yaml"))
KUBERNETES = ("1.29", kubernetes_validate.latest_version())
FULL: dict[str, Any] = yaml.safe_load((generate.CHART / "ci/full-values.yaml").read_text(encoding="utf-8"))
VARIANTS = {
    "default": {},
    "full": FULL,
    "bare": {
        "monitor": {"kind": "none"},
        "dashboards": {"enabled": False},
        "prometheusRule": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """All manifests of one set of values."""
    return generate.documents(VARIANTS[request.param])


def _closed(schema: Any) -> Any:
    """A CRD's schema as the API server applies it with strict field validation: unknown fields are errors."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(pattern := schema.get("pattern"), str) and pattern.startswith("^(?i)"):
        closed["pattern"] = f"(?i)^{pattern[5:]}"  # Go allows the flag there, Python only in front
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _validate(document: dict[str, Any]) -> None:
    if document["apiVersion"].startswith("monitoring.coreos.com"):
        schema = _closed(json.loads((CRDS / f"{document['kind']}.json").read_text(encoding="utf-8")))
        schema["properties"]["metadata"] = {"type": "object"}
        jsonschema.validate(document, schema)
        return
    for version in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)


def _containers(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if document["kind"] in ("DaemonSet", "Deployment", "Job"):
            spec = document["spec"]["template"]["spec"]
            yield from spec.get("initContainers", [])
            yield from spec["containers"]


def _one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def test_lint_is_silent() -> None:
    """`helm lint --strict` finds nothing worse than a missing icon."""
    report = helm_python.lint(generate.CHART, strict=True)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"] if message["severity"] > 1] == []


def test_manifests_are_valid(variant: list[dict[str, Any]]) -> None:
    """Every manifest fits the schema of its kind: Kubernetes' own, strictly, or that of the operator's CRD."""
    assert variant
    for document in variant:
        _validate(document)


def test_validation_notices_mistakes() -> None:
    """The validation can fail, for Kubernetes' kinds and for custom ones."""
    documents = generate.documents()
    broken = _one(documents, "DaemonSet")
    broken["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        _validate(broken)
    broken = _one(documents, "PodMonitor")
    broken["spec"]["podMetricsEndpoints"][0]["intervall"] = "5s"
    with pytest.raises(jsonschema.ValidationError, match="intervall"):
        _validate(broken)


def test_generated_files_are_current() -> None:
    """The kustomize base and the golden renders are what the chart gives (`python -m deploy.helm.generate`)."""
    files = generate.generated()
    stale = [path.name for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    assert stale == []
    assert {path.name for path in generate.BASE.iterdir()} == {
        path.name for path in files if path.parent == generate.BASE
    }


def test_kustomize_base_is_valid() -> None:
    """Its manifests are complete, valid, without Helm's labels, and all listed."""
    kustomization = yaml.safe_load((generate.BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    for name in kustomization["resources"]:
        text = (generate.BASE / name).read_text(encoding="utf-8")
        assert "helm" not in text.lower()
        for document in filter(None, yaml.safe_load_all(text)):
            _validate(document)


def test_kustomize_base_has_all_rules() -> None:
    """The alerts, and the recording rules without which the dashboards of the fleet stay empty."""
    documents = yaml.safe_load_all((generate.BASE / "prometheusrule.yaml").read_text(encoding="utf-8"))
    groups = [group for document in documents if document for group in document["spec"]["groups"]]
    files = (ROOT / "deploy/prometheus/rules").glob("*.yml")
    wanted = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    key = operator.itemgetter("name")
    assert sorted(groups, key=key) == sorted(wanted, key=key)


@pytest.mark.parametrize(
    "uncommented", ["", "With what GPU-hours", "Without the Prometheus operator", "Without GPU feature discovery"]
)
def test_kustomize_example_is_an_overlay_that_builds(uncommented: str, tmp_path: Path) -> None:
    """As it stands and with each of its proposals; the image and the labels are what it says."""
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("needs kubectl, which Debian does not have")
    shutil.copytree(generate.BASE.parent, tmp_path / "kustomize")
    file = tmp_path / "kustomize/example/kustomization.yaml"
    before, mark, after = file.read_text(encoding="utf-8").partition(f"  # {uncommented}")
    if uncommented:
        head, proposal, rest = re.split(r"(?m)((?:^  #  ?[- ].*\n)+)", f"{mark}{after}", maxsplit=1)
        file.write_text(before + head + re.sub(r"(?m)^  # ", "  ", proposal) + rest, encoding="utf-8")
    built = subprocess.run([kubectl, "kustomize", file.parent], capture_output=True, text=True, check=True).stdout
    documents = list(yaml.safe_load_all(built))
    for document in documents:
        _validate(document)
    assert {document["metadata"]["namespace"] for document in documents} == {"monitoring"}
    assert "image: yoloscope" not in built
    monitored = [document for document in documents if document["kind"] in {"PodMonitor", "PrometheusRule"}]
    assert len(monitored) == (0 if "operator" in uncommented else 4 if "GPU-hours" in uncommented else 3)
    assert all(document["metadata"]["labels"]["release"] for document in monitored)
    assert ("nodeSelector" in built) == ("GPU feature" not in uncommented)
    priced = [one for one in monitored if one["metadata"]["name"] == "yoloscope-prices"]
    constants = _by_record([group for one in priced for group in one["spec"]["groups"]])
    assert {record for _, record in constants} == ({price.name for price in records.PRICES} if priced else set())
    assert {"localhost:3000" in built, "github.com" in built} == {False}
    assert {one["dashboard_url"].split("/d/")[0] for one in _annotations(documents)} <= {"https://grafana.example.org"}


def test_two_values_say_where_all_alerts_lead() -> None:
    """Grafana and the runbook stand in the chart's values, and nowhere else in what it renders."""
    addresses = {"grafana_url": "https://grafana.test/", "runbook_url": "https://wiki.test/alerts"}
    documents = [document for document in generate.documents(addresses) if document["kind"] == "PrometheusRule"]
    given = _annotations(documents)
    assert len(given) > 40
    assert {one["dashboard_url"].split("/d/")[0] for one in given} == {"https://grafana.test"}
    assert {one["runbook_url"].split("#")[0] for one in given} == {"https://wiki.test/alerts"}
    assert _annotations(generate.documents()) == _annotations([rules.prometheus_rule(rules.rules(), "")])
    with pytest.raises(helm_python.HelmError, match="grafana_url"):
        generate.documents({"grafana_url": "grafana"})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"price_per_kwh": 0}, {records.PRICE_KWH: 0}),
        (
            {"price_per_gpu_hour": 2.5, "price_per_kwh": 0.2, "co2_per_kwh": 0.0004},
            {records.PRICE_GPU_HOUR: 2.5, records.PRICE_KWH: 0.2, records.CO2_KWH: 0.0004},
        ),
    ],
)
def test_prices_are_the_generators(values: dict[str, float], expected: dict[Recorded, float]) -> None:
    """Each value is one recorded constant, as `deploy.prometheus.generate` writes it; no other is there."""
    documents = generate.documents(values)
    made = [one for one in documents if one["metadata"]["name"] == "yoloscope-prices"]
    for document in made:
        _validate(document)
    groups = [group for one in made for group in one["spec"]["groups"]]
    wanted = rules.prices(rules.Settings(prices=tuple(expected.items())))["groups"] if expected else []
    assert _by_record(groups) == _by_record(wanted)
    with pytest.raises(helm_python.HelmError, match="price_per_kwh"):
        generate.documents({"price_per_kwh": "20 cents"})


def _by_record(groups: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """The constant of each record of each group."""
    constants = ((group["name"], rule["record"], rule["expr"]) for group in groups for rule in group["rules"])
    return {(name, record): float(expr.removeprefix("vector(").removesuffix(")")) for name, record, expr in constants}


def _annotations(documents: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Of all alerts."""
    groups = [group for one in documents if one["kind"] == "PrometheusRule" for group in one["spec"]["groups"]]
    return [rule["annotations"] for group in groups for rule in group["rules"] if "annotations" in rule]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(path: Path) -> None:
    """The example trainings fit Kubernetes' schema."""
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        _validate(document)


def test_every_value_is_in_the_schema_and_documented() -> None:
    """Defaults and schema have the same fields at every level, and each top-level value has a word of explanation."""
    schema = json.loads((generate.CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((generate.CHART / "values.yaml").read_text(encoding="utf-8"))
    schema["properties"].pop("global")  # Helm's own
    assert set(values) == set(schema["properties"])
    for name, value in values.items():
        fields = schema["properties"][name].get("properties")
        if fields and name != "resources":
            assert set(value) == set(fields), name


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"exporter": {"prot": 9911}}, "prot"),
        ({"monitor": {"kind": "Podmonitor"}}, "/monitor/kind"),
        ({"networkPolicy": {"enabled": "yes"}}, "/networkPolicy/enabled"),
        ({"exporter": {"sampleInterval": "often"}}, "/exporter/sampleInterval"),
        ({"recordDirectory": "shm"}, "/recordDirectory"),
        ({"recordDirectory": "/records"}, "/recordDirectory"),
        ({"dashboards": {"languages": ["de"]}}, "/dashboards/languages"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], named: str) -> None:
    """A wrong value is refused by the schema, with the field's name."""
    with pytest.raises(helm_python.HelmError, match=named):
        generate.render(values)


def test_containers_are_closed(variant: list[dict[str, Any]]) -> None:
    """Nothing gains privileges or writes to its image; the exporter is not root, keeps no capability, has limits."""
    for container in _containers(variant):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
    pod = _one(variant, "DaemonSet")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert [c["name"] for c in pod["initContainers"] if c["securityContext"].get("runAsUser") == 0] == ["records"]
    writable = [mount["name"] for mount in pod["containers"][0]["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["state"]


def test_counters_of_energy_outlive_a_container(variant: list[dict[str, Any]]) -> None:
    """They are kept in a volume of the pod, where the exporter is told to keep them."""
    pod = _one(variant, "DaemonSet")["spec"]["template"]["spec"]
    (exporter,) = pod["containers"]
    (path,) = [mount["mountPath"] for mount in exporter["volumeMounts"] if mount["name"] == "state"]
    assert f"--path.state={path}" in exporter["args"]
    assert [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "state"]


@pytest.mark.parametrize("directory", ["/dev/shm/yoloscope", "/run/yoloscope/records"])
def test_init_container_opens_the_directory_and_no_link(tmp_path: Path, directory: str) -> None:
    """Its command, run on a node's directory: made or there already; a link, before or in between, leads nowhere."""
    (pod,) = [
        d["spec"]["template"]["spec"]
        for d in generate.documents({"recordDirectory": directory})
        if d["kind"] == "DaemonSet"
    ]
    (init,) = pod["initContainers"]
    (mount,) = init["volumeMounts"]
    (parent,) = [volume["hostPath"]["path"] for volume in pod["volumes"] if volume["name"] == mount["name"]]
    assert init["command"][-1].replace(mount["mountPath"], parent) == directory
    records, secret = tmp_path / "records", tmp_path / "secret"

    def run(path: str) -> str:
        command = [*init["command"][:-1], records]
        return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True).stderr

    path = os.environ["PATH"]
    for _ in range(2):
        assert run(path) == ""
        assert stat.S_IMODE(records.stat().st_mode) == 0o1777
    secret.mkdir(mode=0o700)
    exchange = f'rm -rf "{records}"; ln -s "{secret}" "{records}"'
    for number, command in enumerate(("mkdir", "stat", "chmod")):
        stub = tmp_path / str(number) / command
        stub.parent.mkdir()
        stub.write_text(f'#!/bin/sh\n{exchange}\nexec {shutil.which(command)} "$@"\n', encoding="utf-8")
        stub.chmod(0o755)
        run(f"{stub.parent}:{path}")
        assert stat.S_IMODE(secret.stat().st_mode) == 0o700
        records.unlink()
        records.mkdir()
    records.rmdir()
    records.symlink_to(secret)
    assert "is left as it is" in run(path)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_containers_are_closed(path: Path) -> None:
    """The examples teach no bad habits, and pin their images."""
    for container in _containers(list(yaml.safe_load_all(path.read_text(encoding="utf-8")))):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["image"].endswith(f":{__version__}")


def test_image_is_pinned(variant: list[dict[str, Any]]) -> None:
    """The image has the chart's version unless another is given."""
    assert {container["image"].partition(":")[2] for container in _containers(variant)} == {__version__}


def test_exporter_accepts_its_arguments(variant: list[dict[str, Any]], tmp_path: Path) -> None:
    """`yoloscope serve` knows every flag that the chart, the sidecar example and the Compose file give it."""
    example = yaml.safe_load((ROOT / "deploy/helm/examples/training-with-sidecar.yaml").read_text(encoding="utf-8"))
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text(encoding="utf-8"))
    lists = [container["args"] for container in _containers([*variant, example]) if "args" in container]
    for command, *arguments in (*lists, compose["services"]["exporter"]["command"]):
        if command == "notify":
            continue
        assert command == "serve"
        known = [argument for argument in arguments if not argument.startswith("--web.config.file")]
        with serve.make_context("serve", [*known, f"--path.records={tmp_path}"]) as context:
            assert context.params["web_listen_address"].port in {9911, 9921}
    assert CliRunner().invoke(serve, ["--no-collector.nonsense"]).exit_code == 2


def test_notify_is_off_until_it_has_addresses() -> None:
    """And says what is missing; on, it takes its arguments, reads the secret, and there is one of it."""
    assert not [one for one in generate.documents() if one["kind"] == "Deployment"]
    with pytest.raises(helm_python.HelmError, match=r"notify\.secret: name a secret"):
        generate.render({"notify": {"enabled": True}})
    documents = generate.documents({"notify": {"enabled": True, "secret": "addresses"}})
    spec = _one(documents, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    (container,) = spec["template"]["spec"]["containers"]
    assert container["args"][0] == "notify"
    options = notify.make_context("notify", container["args"][1:]).params
    (service,) = [one for one in documents if one["kind"] == "Service"]
    assert options["listen"].port == service["spec"]["ports"][0]["port"] == container["ports"][0]["containerPort"]
    assert str(options["directory"]) == container["volumeMounts"][0]["mountPath"]
    variable = next(one for one in container["env"] if "valueFrom" in one)
    assert variable["name"] in {option.envvar for option in notify.params}
    assert variable["valueFrom"]["secretKeyRef"]["name"] == "addresses"
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()


def test_prometheus_rules_are_the_shipped_ones() -> None:
    """Each rule file becomes one PrometheusRule with the same groups."""
    rules = {d["metadata"]["name"]: d for d in generate.documents() if d["kind"] == "PrometheusRule"}
    files = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
    assert files
    for path in files:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        assert rules[f"yoloscope-{path.stem}"]["spec"]["groups"] == groups


def test_dashboards_are_the_shipped_ones() -> None:
    """Each dashboard becomes one ConfigMap that Grafana's sidecar finds, below Kubernetes' limit of 1 MiB."""
    maps = [document for document in generate.documents() if document["kind"] == "ConfigMap"]
    files = sorted((ROOT / "dashboards/generated/en").glob("*.json"))
    assert len(maps) == len(files)
    contents = {json.dumps(json.loads(path.read_text(encoding="utf-8")), sort_keys=True) for path in files}
    for found in maps:
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        (text,) = found["data"].values()
        assert len(text) < 1 << 20
        assert json.dumps(json.loads(text), sort_keys=True) in contents


def test_monitors_give_the_labels_of_the_dashboards() -> None:
    """`job` comes from the name label and `instance` is the node, for both kinds of monitor."""
    for values, kind, key in (({}, "PodMonitor", "podMetricsEndpoints"), (FULL, "ServiceMonitor", "endpoints")):
        documents = generate.documents(values)
        spec = _one([d for d in documents if not d["metadata"]["name"].endswith("-sidecar")], kind)["spec"]
        assert spec["jobLabel"] == "app.kubernetes.io/name"
        assert spec[key][0]["honorLabels"] is True  # else a training's pod is `exported_pod`
        (relabeling,) = spec[key][0]["relabelings"]
        assert relabeling["targetLabel"] == "instance"
        assert relabeling["sourceLabels"] == ["__meta_kubernetes_pod_node_name"]
        labels = _one(documents, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()


def test_sidecar_monitor_finds_the_example() -> None:
    """The monitor for sidecars selects what the example's pods are labelled with, and scrapes a port they have."""
    documents = generate.documents({"sidecar": {"monitor": True}})
    (monitor,) = [d for d in documents if d["metadata"]["name"].endswith("-sidecar")]
    example = yaml.safe_load((ROOT / "deploy/helm/examples/training-with-sidecar.yaml").read_text(encoding="utf-8"))
    labels = example["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"] for container in _containers([example]) for port in container.get("ports", [])}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in ports
    assert endpoint["honorLabels"] is True


def test_without_an_operator_the_pods_are_annotated() -> None:
    """With monitor.kind=none nothing needs a CRD, and the pods say where to scrape."""
    documents = generate.documents(VARIANTS["bare"])
    assert not any(document["apiVersion"].startswith("monitoring") for document in documents)
    annotations = _one(documents, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert annotations["prometheus.io/port"] == "9911"


def test_exporter_is_reached_on_its_port_alone() -> None:
    """The network policy lets scrapes in and nothing out."""
    policy = _one(generate.documents(), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    assert policy["ingress"] == [{"ports": [{"port": "metrics", "protocol": "TCP"}]}]
