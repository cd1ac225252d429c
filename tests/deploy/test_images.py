"""The images that the Dockerfile makes, and the services in them, as compose.yaml runs them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.compose_file import FOLDER, load
from tests.deploy.engine import Engine, engine, image_of
from tests.deploy.load import PAPER
from tests.deploy.topology import NATS, Topology
from tests.system import at_work, new_folder
from tidemill.common.service import service_names

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.deploy, pytest.mark.timeout(1150)]

TARGETS = (*service_names(), "cli", "nats")
MATCHES = len(json.loads(PAPER.with_suffix(".truth.json").read_text())["matches"])
GRACE_SECONDS = 30

# What a container finds of itself.
RIGHTS = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; touch /opt/x 2>&1 || true"
CHROMIUM = """
import asyncio
from tidemill.scraper.chromium import Chromium
async def look():
    await (await Chromium.open()).close()
asyncio.run(look())
"""


def confined(given: Mapping[str, Any]) -> list[str]:
    """A container of the service, with the rights and limits that it is given."""
    assert given["read_only"] and given["init"]
    limits = given["deploy"]["resources"]["limits"]
    options = ["--read-only", "--init", f"--cpus={limits['cpus']}", f"--memory={limits['memory']}"]
    options += [f"--pids-limit={limits['pids']}", *(f"--cap-drop={each}" for each in given["cap_drop"])]
    options += [f"--security-opt={each.replace('seccomp:', f'seccomp={FOLDER}/')}" for each in given["security_opt"]]
    return options + [f"--tmpfs={each}" for each in given.get("tmpfs", ())]


@dataclass
class Containers(Topology):
    """Ours and NATS in containers, in the network of this machine; Postgres and Redis are processes of it."""

    engine: Engine = field(kw_only=True)

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def paths(self, _service: str, text: str) -> str:
        return text

    def environment_of(self, _service: str, _replica: str = "") -> dict[str, str]:
        """Of podman itself; `command` has what a container gets."""
        return dict(os.environ)

    def server_command(self, name: str) -> Sequence[str | Path]:
        return self.command(name, self.compose[name]["command"]) if name in NATS else super().server_command(name)

    def command(self, service: str, words: Sequence[str], replica: str = "") -> Sequence[str]:
        given = self.compose[service]
        options = [*confined(given), *(("--name", self.name_of(replica)) if replica else ())]
        options += [f"--volume={each}" for each in (*self.secrets_of(given), *self.volumes_of(given))]
        environment = {name: self.local(service, value) for name, value in given.get("environment", {}).items()}
        if replica:
            environment |= {"TIDEMILL_HEALTH__HOST": "127.0.0.1", "TIDEMILL_HEALTH__PORT": str(self.ports[replica])}
        options += [f"--env={name}={value}" for name, value in environment.items() if value]
        image = image_of(given["build"]["target"])
        if replica:
            return self.engine.run(*options, image)  # It knows what it runs.
        if service in NATS:
            return self.engine.run(*options, image, *words)
        return self.engine.run(*options, f"--entrypoint={words[0]}", image, *words[1:])

    def secrets_of(self, given: Mapping[str, Any]) -> Iterator[str]:
        for each in given["secrets"]:
            source, target = (each, each) if isinstance(each, str) else (each["source"], each["target"])
            yield f"{self.secrets / source}:/run/secrets/{target}:ro"

    def volumes_of(self, given: Mapping[str, Any]) -> Iterator[str]:
        for each in given.get("volumes", ()):
            text = each if isinstance(each, str) else f"{each['source']}:{each['target']}"
            yield f"{self.folder}{text[1:]}" if text.startswith("./") else text

    def name_of(self, replica: str) -> str:
        return f"tidemill-{replica}"

    def stop(self) -> None:
        super().stop()
        self.engine.remove_all()


@pytest.fixture(scope="module")
def built() -> Iterator[Engine]:
    with engine() as made:
        for target in TARGETS:
            print(f"\n{target}: built in {made.build_target(target):.0f} s", end="")
        print("\n" + made.ask("images", "--format={{.Repository}} {{.Size}}"))
        yield made


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_of_ours_runs_as_the_user_of_its_volumes(built: Engine, target: str) -> None:
    ((shown,)) = json.loads(built.ask("image", "inspect", image_of(target)))
    assert shown["User"] == "10001:10001"
    assert shown["Healthcheck"]["Test"][0] == ("NONE" if target == "cli" else "CMD")


def test_chromium_starts_in_its_sandbox_by_the_rights_of_compose_browser(built: Engine) -> None:
    print(f"\nscraper-browser: built in {built.build_target('scraper-browser'):.0f} s")
    scraper, more = (load(name)["services"]["scraper"] for name in ("compose.yaml", "compose.browser.yaml"))
    image = image_of("scraper-browser")
    refused = subprocess.run(
        built.run(*confined(scraper), image, "python", "-c", CHROMIUM), capture_output=True, text=True, check=False
    )
    assert "NoBrowser" in refused.stderr, "compose.browser.yaml is not needed any more"
    assert "in Compose by compose.browser.yaml" in refused.stderr
    opened = built.run(*confined(scraper | more), image, "python", "-c", CHROMIUM)
    subprocess.run(opened, check=True, timeout=120)


def test_services_in_their_images_convert_a_paper_and_end_when_they_are_told(built: Engine) -> None:
    replicas = [f"{service}-1" for service in service_names()]
    with at_work(Containers(new_folder(), replicas, engine=built)) as system:
        began = system.wait_until_ready(within=240)
        print(f"\n{len(replicas)} services ready after {began:.0f} s")
        for replica in replicas:
            inside = built.ask("exec", system.name_of(replica), "sh", "-c", RIGHTS).split("\n")
            assert inside[0] == "10001"
            assert dict(line.split(":\t") for line in inside[1:-1]) == {
                "CapEff": "0" * 16,
                "CapBnd": "0" * 16,
                "NoNewPrivs": "1",
                "Seccomp": "2",
            }
            assert "Read-only file system" in inside[-1]
            built.ask("healthcheck", "run", system.name_of(replica))
        status = system.cli("status").stdout
        assert all(name in status for name in service_names()), status
        draft = system.inbox / ".paper.part"
        draft.write_bytes(PAPER.read_bytes())
        draft.rename(system.inbox / "paper.pdf")
        print(f"{MATCHES} matches as records after {seconds_until_converted(system):.1f} s")
        assert_all_end(system)


def seconds_until_converted(system: Containers) -> float:
    begun = time.monotonic()
    while True:
        told = system.cli("records", "football.match", "--output", "jsonl").stdout.splitlines()
        if len(told) == MATCHES:
            return time.monotonic() - begun
        assert time.monotonic() - begun < 120, f"{len(told)} records; logs in {system.folder / 'log'}"
        time.sleep(0.5)


def assert_all_end(system: Containers) -> None:
    """Told as the engine tells them, all at once, each within its grace and with status 0."""
    begun = time.monotonic()
    for process in system.services.values():
        process.send_signal(signal.SIGTERM)
    for replica, process in system.services.items():
        try:
            assert process.wait(GRACE_SECONDS) == 0, replica
        except subprocess.TimeoutExpired:
            pytest.fail(f"{replica} does not end")
        print(f"{replica} ended after {time.monotonic() - begun:.1f} s")
    assert time.monotonic() - begun < GRACE_SECONDS
