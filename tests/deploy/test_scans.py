"""Linters and scanners find nothing in what is deployed, and find what is planted."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.programs import program

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
pytestmark = [pytest.mark.slow, pytest.mark.unmeasured, pytest.mark.timeout(300)]


def hadolint(file: Path) -> list[str]:
    command = [program("hadolint"), "--format", "json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return [found["code"] for found in json.loads(done.stdout)]


def checkov(framework: str, path: Path) -> tuple[int, list[str]]:
    """How many checks passed, and those that failed; nothing is fetched for it."""
    command = [
        program("checkov"),
        "--framework",
        framework,
        "--skip-download",
        "--compact",
        "--quiet",
        "--output",
        "json",
    ]
    command += ["--file", str(path)] if path.is_file() else ["--directory", str(path)]
    environment = {**os.environ, "BC_SKIP_MAPPING": "TRUE", "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)
    said: Any = json.loads(done.stdout)
    failed = [each["check_id"] + " " + each["resource"] for each in said["results"]["failed_checks"]]
    return said["summary"]["passed"], failed


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert hadolint(DOCKERFILE) == []


def test_hadolint_finds_what_is_planted(tmp_path: Path) -> None:
    planted = tmp_path / "Dockerfile"
    planted.write_text(DOCKERFILE.read_text() + "RUN cd /tmp && sudo apt-get install curl\nUSER root\n")
    assert {"DL3003", "DL3004", "DL3002"} <= set(hadolint(planted))


@pytest.mark.long
def test_checkov_finds_nothing_in_the_dockerfile() -> None:
    passed, failed = checkov("dockerfile", DOCKERFILE)
    assert failed == []
    assert passed > 20


@pytest.mark.long
def test_checkov_finds_what_is_planted_in_a_dockerfile(tmp_path: Path) -> None:
    planted = tmp_path / "Dockerfile"
    planted.write_text("FROM debian:latest\nEXPOSE 22\nUSER root\nCMD bash\n")
    _, failed = checkov("dockerfile", planted)
    assert {"CKV_DOCKER_1", "CKV_DOCKER_7", "CKV_DOCKER_8"} <= {each.split()[0] for each in failed}
