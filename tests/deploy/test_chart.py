"""The chart renders for every set of values, its objects are ones that Kubernetes takes, and none breaks our rules."""

import json
import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.deploy.test_scans import checkov
from tests.programs import program
from tidemill.cli.main import app
from tidemill.common.bus.topology import STREAMS
from tidemill.common.config import load_config
from tidemill.common.service import find_services, service_names
from tidemill.common.telemetry.metrics import METRICS

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "tidemill"
SETS = sorted(file.stem for file in (CHART / "ci").glob("*.yaml"))
SPECS = {spec.name: spec for spec in find_services()}
RELEASE, NAMESPACE = "t", "mill"
ACCEPTED = {
    "CKV_K8S_21": "the namespace is that of the release",
    "CKV_K8S_43": "digests are values: image.digests",
    "CKV_K8S_15": "a tag of ours is made once, so that it need not be pulled again",
    "CKV_K8S_35": "libraries of buckets read their credentials from the environment",
}


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    command = [program("helm"), *words]
    return subprocess.run(command, cwd=CHART, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module", params=SETS)
def rendered(request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    done = helm("template", RELEASE, ".", "--namespace", NAMESPACE, "--values", f"ci/{request.param}.yaml")
    assert done.returncode == 0, done.stderr
    yield [document for document in yaml.safe_load_all(done.stdout) if document]


def pods(objects: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{each['kind']} {each['metadata']['name']}", each["spec"]["template"]["spec"])
        for each in objects
        if each["kind"] in ("Deployment", "Job")
    ]


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def component(each: dict[str, Any]) -> str:
    return str(each["metadata"]["labels"]["app.kubernetes.io/component"])


@pytest.mark.parametrize("name", SETS)
def test_helm_finds_nothing_wrong(name: str) -> None:
    done = helm("lint", ".", "--strict", "--values", f"ci/{name}.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_five_sets_of_values_are_tried() -> None:
    assert SETS == ["external", "minimal", "production", "restricted", "watcher"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("archive.url=", "the archive has no place"),
        ("archive.url=ftp://x", "archive"),
        ("nats.servers=nats", "servers"),
        ("services.scrapper.enabled=true", "scrapper"),
        ("autoscaling.kind=magic", "kind"),
        ("image.digests.scraper=latest", "scraper"),
        ("services.scraper.image=scraper-browser", "services.scraper.seccompProfile"),
    ],
)
def test_wrong_values_are_refused(wrong: str, says: str) -> None:
    given = () if wrong.startswith("archive.url") else ("--set", "archive.url=s3://x")
    done = helm("template", RELEASE, ".", *given, "--set", wrong)
    assert done.returncode != 0
    assert says in done.stderr


def test_every_object_is_one_that_kubernetes_takes(rendered: list[dict[str, Any]], tmp_path: Path) -> None:
    """But for those of operators, whose schemas are not Kubernetes'."""
    of_operators = ("keda.sh", "monitoring.coreos.com")
    own = [each for each in rendered if each["apiVersion"].partition("/")[0] not in of_operators]
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(own))
    for version in ("1.29.0", "1.37.0"):
        command = [program("kubernetes-validate"), "--strict", "--kubernetes-version", version, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Couldn't find" not in done.stdout + done.stderr


def test_kubectl_reads_every_object(rendered: list[dict[str, Any]]) -> None:
    """Without a cluster: those of Kubernetes as what they say they are, those of operators as they come."""
    command = [program("kubectl"), "annotate", "--local", "--filename", "-", "tidemill/read=yes", "--output", "name"]
    text = yaml.safe_dump_all(rendered)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    kinds = [line.partition("/")[0].partition(".")[0] for line in done.stdout.split()]
    assert sorted(kinds) == sorted(each["kind"].lower() for each in rendered)


def test_no_pod_is_root_or_may_become_so(rendered: list[dict[str, Any]]) -> None:
    for name, pod in pods(rendered):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
        for container in pod["containers"]:
            held = container["securityContext"]
            assert held["allowPrivilegeEscalation"] is False, name
            assert held["readOnlyRootFilesystem"] is True, name
            assert held["capabilities"] == {"drop": ["ALL"]}, name
            image = container["image"].rpartition("/")[2].partition(":")[0]
            assert ("seccompProfile" in held) == (image == "scraper-browser"), name


def test_every_container_has_limits_and_every_service_probes(rendered: list[dict[str, Any]]) -> None:
    for name, pod in pods(rendered):
        for container in pod["containers"]:
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][kind]), name
            if name.startswith("Deployment"):
                asked = {key: container[key]["httpGet"]["path"] for key in container if key.endswith("Probe")}
                assert asked == {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        for volume in pod["volumes"]:
            assert "hostPath" not in volume, name
            assert volume.get("emptyDir", {"sizeLimit": 1}).get("sizeLimit"), name


def test_kubernetes_waits_longer_than_a_service_takes(rendered: list[dict[str, Any]]) -> None:
    for name, deployment in of_kind(rendered, "Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        told = variables(pod["containers"][0])["TIDEMILL_SHUTDOWN_AFTER"]
        assert pod["terminationGracePeriodSeconds"] >= int(told.rstrip("s")) + 10, name


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "from a secret") for each in container["env"]}


def test_a_service_understands_what_it_is_given(rendered: list[dict[str, Any]], tmp_path: Path) -> None:
    models = {name: spec.settings for name, spec in SPECS.items()}
    configs = [each["data"] for each in of_kind(rendered, "ConfigMap").values()]
    for data in configs:
        if "tidemill.yaml" in data:
            (tmp_path / "tidemill.yaml").write_text(data["tidemill.yaml"])
    deployments = of_kind(rendered, "Deployment")
    assert deployments
    for name, deployment in deployments.items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        service = component(deployment)
        assert service in service_names()
        environment = variables(container)
        config = load_config(tmp_path, services=models, environ=environment)
        assert f"://{service}:${{file:/run/secrets/nats}}@" in str(config.common.nats_url), name
        assert f"://tidemill_{service}:${{file:/run/secrets/database}}@" in str(config.common.database_url), name
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounted["secrets"] == "/run/secrets"
        assert bool(mounted.get("archive")) != environment.get("ARCHIVE_URL", "").startswith(("s3:", "gs:"))


def test_jobs_type_what_our_command_line_knows(rendered: list[dict[str, Any]]) -> None:
    for job in of_kind(rendered, "Job").values():
        (script,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
        for command in script.split(" && "):
            words = re.sub(r"'[^']*'", "text", command).removeprefix("tidemill ").split()
            done = CliRunner().invoke(app, [*words, "--help"])
            assert done.exit_code == 0, done.output
        assert "helm.sh/hook" in job["metadata"]["annotations"]


def test_what_scales_a_service_is_there_to_be_measured(rendered: list[dict[str, Any]]) -> None:
    streams = {stream.name for stream in STREAMS}
    deployments = of_kind(rendered, "Deployment")
    for scaled in of_kind(rendered, "ScaledObject").values():
        name, service = scaled["spec"]["scaleTargetRef"]["name"], component(scaled)
        assert "replicas" not in deployments[name]["spec"]
        for trigger in scaled["spec"]["triggers"]:
            asked = trigger["metadata"]
            if trigger["type"] == "nats-jetstream":
                assert asked["stream"] in streams
                assert SPECS[service].uses.consumes[asked["consumer"]].stream == asked["stream"]
            else:
                (metric,) = re.findall(r"tidemill_\w+", asked["query"])
                assert metric in METRICS
                assert f'service="{service}"' in asked["query"]
    for scaled in of_kind(rendered, "HorizontalPodAutoscaler").values():
        assert "replicas" not in deployments[scaled["spec"]["scaleTargetRef"]["name"]]["spec"]


def test_what_selects_pods_finds_some(rendered: list[dict[str, Any]]) -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(rendered, "Deployment").values()]
    for each in rendered:
        wanted = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        }.get(each["kind"])
        if wanted:
            assert any(wanted(each["spec"]).items() <= had.items() for had in labels), each["metadata"]["name"]


def test_only_what_fetches_or_tells_people_reaches_the_internet(rendered: list[dict[str, Any]]) -> None:
    policies = of_kind(rendered, "NetworkPolicy")
    if not policies:
        return
    (open_to,) = [each for name, each in policies.items() if name.endswith("-internet")]
    (chosen,) = open_to["spec"]["podSelector"]["matchExpressions"]
    assert set(chosen["values"]) <= {"scraper", "downloader", "reporter", "alerter", "none"}
    (block,) = open_to["spec"]["egress"][0]["to"]
    assert "169.254.0.0/16" in block["ipBlock"]["except"]
    for each in policies.values():
        for rule in each["spec"]["egress"]:
            assert rule.get("ports"), "no rule opens every port"


def test_rules_and_dashboards_are_those_of_the_folder() -> None:
    done = helm("template", RELEASE, ".", "--values", "ci/production.yaml")
    assert done.returncode == 0, done.stderr
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    folder = CHART.parents[1] / "observability"
    rules = [each["spec"] for each in of_kind(objects, "PrometheusRule").values()]
    assert sorted(map(str, rules)) == sorted(
        str(yaml.safe_load(file.read_text())) for file in (folder / "prometheus" / "rules").glob("*.yaml")
    )
    found = {
        name: json.loads(text)
        for each, config in of_kind(objects, "ConfigMap").items()
        if "-dashboard-" in each
        for name, text in config["data"].items()
    }
    boards = (folder / "grafana" / "dashboards").glob("*.json")
    assert found == {file.name: json.loads(file.read_text()) for file in boards}
    assert found


def test_the_chart_has_every_service_and_the_schema_knows_every_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert sorted(values["services"]) == service_names()
    assert sorted(schema["properties"]["services"]["properties"]) == service_names()
    assert set(values) <= set(schema["properties"])


def test_the_readme_is_made_of_the_values() -> None:
    made = runpy.run_path(str(CHART.parent / "describe.py"))["page"]()
    told = "renew it: python deploy/helm/describe.py > deploy/helm/tidemill/README.md"
    assert (CHART / "README.md").read_text(encoding="utf-8") == made, told


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.timeout(300)
@pytest.mark.long
def test_checkov_finds_nothing_in_what_is_rendered(tmp_path: Path) -> None:
    done = helm("template", RELEASE, ".", "--namespace", NAMESPACE, "--values", "ci/production.yaml")
    file = tmp_path / "rendered.yaml"
    file.write_text(done.stdout)
    passed, failed = checkov("kubernetes", file)
    assert [each for each in failed if each.split()[0] not in ACCEPTED] == []
    assert passed > 300


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.timeout(300)
@pytest.mark.long
def test_checkov_finds_what_is_planted(tmp_path: Path) -> None:
    done = helm("template", RELEASE, ".", "--namespace", NAMESPACE, "--values", "ci/minimal.yaml")
    planted = done.stdout.replace("runAsNonRoot: true", "runAsNonRoot: false")
    planted = planted.replace("runAsUser: 10001", "runAsUser: 0")
    planted = planted.replace("allowPrivilegeEscalation: false", "privileged: true")
    file = tmp_path / "rendered.yaml"
    file.write_text(planted)
    _, failed = checkov("kubernetes", file)
    assert {"CKV_K8S_16", "CKV_K8S_20", "CKV_K8S_23"} <= {each.split()[0] for each in failed}


def test_ci_sees_the_tools_it_installs() -> None:
    """A tool that is missing in CI skips tests; nobody should wonder which."""
    said = (CHART.parents[2] / ".ci" / "run").read_text()
    for name in ("helm", "docker-compose", "checkov", "hadolint", "kubernetes-validate"):
        assert name in said
        if os.environ.get("CI") and not shutil.which(name):
            print(f"{name} is not on PATH: its tests are skipped")
