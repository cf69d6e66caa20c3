"""The files for a deployment fit what they are for: Compose, Kubernetes, systemd, nats-server, Grafana's provisioning."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from support.command_line import waggle
from waggle.settings.services import READERS, declared
from waggle_embedded.binaries import find_nats

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
KUBERNETES = "1.34"
BASE = [file for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if file.name not in ("kustomization.yaml", "keda.yaml")]
SECRET_KEYS = {"WAGGLE_POSTGRES_URL", "WAGGLE_API_SECRET"}


def documents(file: Path) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(file.read_text()) if found]


def workloads() -> Iterator[dict[str, Any]]:
    for file in BASE:
        yield from (found for found in documents(file) if found["kind"] in ("Deployment", "Job"))


def test_the_compose_file_fits_the_specification(tmp_path: Path) -> None:
    plain = tmp_path / "compose.yaml"
    plain.write_text(yaml.safe_dump(yaml.safe_load((DEPLOY / "compose.yaml").read_text())))  # without anchors and merges
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(plain)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_of_the_compose_file_is_one_that_its_service_reads() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    readers = {"migrate": "command line", **{name: name for name in ("api", "worker", "dlq", "scheduler")}}
    for name, reader in readers.items():
        given = {key.removeprefix("WAGGLE_").lower() for key in compose["services"][name]["environment"]}
        assert given <= set(READERS[reader].__struct_fields__), name
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", ())]
    for source in [mount.split(":")[0] for mount in mounts if mount.startswith("./")]:
        assert (DEPLOY / source).exists(), source


def test_every_secret_of_the_compose_file_is_in_the_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    example = {line.partition("=")[0] for line in (DEPLOY / "compose/env.example").read_text().splitlines() if "=" in line}
    assert {part.partition(":?")[0] for part in text.split("${")[1:]} == example


@pytest.mark.parametrize("file", BASE, ids=lambda file: file.name)
def test_a_manifest_fits_kubernetes(file: Path) -> None:
    for found in documents(file):
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_the_base_names_every_manifest() -> None:
    [base] = documents(DEPLOY / "kubernetes/kustomization.yaml")
    assert sorted(base["resources"]) == [file.name for file in BASE]


def test_workloads_are_as_the_services_need_them() -> None:
    for found in workloads():
        pod = found["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert pod["enableServiceLinks"] is False, "Kubernetes would set WAGGLE_… variables that no service knows"
        assert container["securityContext"]["runAsNonRoot"] is True
        names = {entry["name"] for entry in container["env"]} | SECRET_KEYS
        assert {name.removeprefix("WAGGLE_").lower() for name in names} <= set(declared())
        if found["kind"] == "Deployment":
            assert pod["terminationGracePeriodSeconds"] >= 35, "grace and ten seconds more"
            assert (container["livenessProbe"]["httpGet"]["path"], container["readinessProbe"]["httpGet"]["path"]) == ("/livez", "/readyz")


def test_the_scaler_asks_for_metrics_that_exist() -> None:
    [scaled] = documents(DEPLOY / "kubernetes/keda.yaml")
    assert (scaled["kind"], scaled["spec"]["scaleTargetRef"]["name"]) == ("ScaledObject", "waggle-worker")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    tool = shutil.which("promtool")
    assert tool
    done = subprocess.run([tool, "check", "rules", "/dev/stdin"], input=yaml.safe_dump(rule(query)), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "waggle_oldest_wait_seconds" in query
    assert "waggle_queue_paused" in query


def rule(query: str) -> dict[str, Any]:
    return {"groups": [{"name": "keda", "rules": [{"record": "waggle:oldest_wait", "expr": query}]}]}


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda unit: unit.name)
def test_a_unit_fits_systemd(unit: Path, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    assert tool, "systemd-analyze is missing: apt-get install systemd"
    for other in (DEPLOY / "systemd").iterdir():
        (tmp_path / other.name).write_text(other.read_text().replace("/opt/waggle/bin/waggle", sys.executable))
    done = subprocess.run([tool, "verify", "--man=no", unit.name.replace("@.", "@1.")], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "waggle" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_a_unit_starts_a_command_that_exists(tmp_path: Path) -> None:
    for unit in (DEPLOY / "systemd").iterdir():
        [line] = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
        done = waggle(*line.split()[1:], "--help", place=tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_configuration_of_the_nats_nodes_is_valid_and_that_of_the_users() -> None:
    namespace: dict[str, Any] = {"__file__": str(DEPLOY / "compose/nats/make.py"), "__name__": "made"}
    exec((DEPLOY / "compose/nats/make.py").read_text(), namespace)  # noqa: S102  # our own file
    assert (DEPLOY / "compose/nats/nats.conf").read_text() == namespace["page"](), "run `uv run just dashboards`"
    passwords = {f"NATS_{name}_PASSWORD": "p" for name in ("API", "WORKER", "DLQ", "SCHEDULER", "OPERATOR", "CLUSTER")}
    routes = {f"NATS_ROUTE_{number}": f"nats://cluster:p@nats-{number}:6222" for number in (1, 2, 3)}
    done = subprocess.run([find_nats(), "-t", "-c", DEPLOY / "compose/nats/nats.conf"], capture_output=True, text=True, timeout=30, check=False,
                          env={**os.environ, **passwords, **routes, "NATS_NAME": "nats-1"})  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_grafana_is_provisioned_with_the_dashboards() -> None:
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/waggle.yaml").read_text())["providers"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["services"]["grafana"]["volumes"]
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/waggle.yaml").read_text())["datasources"]
    assert {source["type"] for source in sources} == {"prometheus", "tempo"}


def test_the_commands_of_the_image_install_every_service(tmp_path: Path) -> None:
    """Those of the first RUN, in an environment of this test's own; what they install works without the sources."""
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    [command] = [line.partition("&&")[2] for line in lines if line.startswith("RUN pip install --no-cache-dir uv")]
    source, wheels, venv = tmp_path / "src", tmp_path / "wheels", tmp_path / "venv"
    source.mkdir()
    for name in [line.removeprefix("!") for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name, **({"symlinks": True} if (ROOT / name).is_dir() else {}))
    there = command.replace("/src", str(source)).replace("/wheels", str(wheels)).replace("--system --no-cache", f"--python {venv}/bin/python")
    done = subprocess.run(["bash", "-c", f"uv venv -q --python {sys.executable} {venv} && {there}"], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert not source.exists()
    for service in ("api", "worker", "dlq", "scheduler"):
        checked = subprocess.run([venv / "bin/python", "-c", f"import waggle_{service}.__main__"], capture_output=True, text=True, timeout=60, check=False)
        assert checked.returncode == 0, checked.stderr
    assert subprocess.run([venv / "bin/waggle", "migrate", "--help"], capture_output=True, timeout=60, check=False).returncode == 0
