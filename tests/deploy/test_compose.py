"""compose.yaml is one that Compose takes, that our services understand, and that opens no door."""

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text
from typer.testing import CliRunner

from tests.deploy.compose_file import (
    FOLDER,
    SERVERS,
    env_file,
    image_commands,
    image_environment,
    load,
    replaced,
    variables,
)
from tests.deploy.topology import DATABASE_TLS
from tests.programs import program
from tidemill.cli.main import app
from tidemill.common.bus.client import open_client
from tidemill.common.config import load_config
from tidemill.common.database import open_engine
from tidemill.common.servers import PostgresServer, free_port
from tidemill.common.servers.nats import nats_binary
from tidemill.common.service import find_services, service_names

COMPOSE = load()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = service_names()
TOOLS = ("migrate", "cli")
DOCKERFILE = (FOLDER.parent / "docker" / "Dockerfile").read_text()
USER = re.compile(r"^FROM (\S+) AS (\S+)|^USER (\S+)", re.MULTILINE)


def compose(*words: str) -> subprocess.CompletedProcess[str]:
    command = [program("docker-compose"), "--project-directory", str(FOLDER), *words]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["--profile", "minimal"],
        ["--profile", "minimal", "--profile", "observability"],
        ["--env-file", ".env.example", "--env-file", "cluster.env", "--profile", "cluster"],
        ["-f", "compose.yaml", "-f", "compose.logs.yaml", "--profile", "minimal", "--profile", "observability"],
        ["-f", "compose.yaml", "-f", "compose.browser.yaml", "--profile", "minimal"],
        ["--profile", "tools"],
    ],
    ids=["minimal", "observability", "cluster", "logs", "browser", "tools"],
)
def test_compose_itself_takes_every_profile(words: list[str]) -> None:
    done = compose(*words, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
    shown = json.loads(done.stdout)["services"]
    if "tools" not in words:
        assert set(OURS) <= set(shown)
    if "cluster" in words:
        assert {shown[name]["deploy"]["replicas"] for name in OURS} == {2}


def test_what_compose_reads_is_what_these_tests_read() -> None:
    profiles = ("--profile", "minimal", "--profile", "cluster", "--profile", "observability")
    done = compose(*profiles, "config", "--format", "json")
    shown = json.loads(done.stdout)["services"]
    for name in shown:
        given = SERVICES[name].get("environment", {})
        assert {k: replaced(str(v), {}) for k, v in shown[name].get("environment", {}).items() if v} == {
            k: v for k, v in given.items() if v
        }


def test_every_service_is_there_in_the_profiles_of_work() -> None:
    for name in (*OURS, "migrate"):
        assert SERVICES[name]["profiles"] == ["minimal", "cluster"]
    assert {name for name, service in SERVICES.items() if service["profiles"] == ["cluster"]} == {
        "nats-1",
        "nats-2",
        "nats-3",
    }


@pytest.mark.parametrize("name", OURS)
def test_a_service_understands_what_it_is_given(name: str, tmp_path: Path) -> None:
    """Every variable is a setting, and its value one that the setting takes."""
    environment = {**image_environment(), **SERVICES[name]["environment"]}
    models = {spec.name: spec.settings for spec in find_services()}
    config = load_config(tmp_path, services=models, environ=environment)
    told = {origin.name for origin in config.origins.values() if origin.kind == "environment"}
    assert told >= {key for key, value in environment.items() if value and is_setting(key)}
    assert config.common.redis_url
    assert (config.common.health.host, config.common.health.port) == ("0.0.0.0", 8080)


def is_setting(variable: str) -> bool:
    return variable.endswith("_URL") or (variable.startswith("TIDEMILL_") and variable != "TIDEMILL_ENV")


@pytest.mark.parametrize("name", OURS)
def test_its_addresses_are_its_own_user_and_role_at_servers_that_are_there(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["NATS_URL"] == f"tls://{name}:${{file:/run/secrets/nats}}@nats:4222?tls_ca=/run/secrets/ca.crt"
    role = f"postgresql://tidemill_{name}:${{file:/run/secrets/database}}"
    assert environment["DATABASE_URL"] == f"{role}@postgres:5432/tidemill?{DATABASE_TLS}"
    given = {each if isinstance(each, str) else (each["source"], each["target"]) for each in SERVICES[name]["secrets"]}
    assert given == {(f"nats-{name}", "nats"), (f"database-{name}", "database"), "redis", "ca.crt"}


def test_commands_are_those_of_our_command_line() -> None:
    (script,) = SERVICES["migrate"]["command"]
    for command in script.split(" && "):
        words = [*command.removeprefix("tidemill ").split(), "--help"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    commands = image_commands()
    assert {name: commands[name] for name in OURS} == {name: ["python", "-m", f"tidemill.{name}"] for name in OURS}


def test_every_image_of_ours_is_a_target_of_the_dockerfile() -> None:
    targets = {name for _, name, _ in USER.findall(DOCKERFILE) if name}
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["build"]["target"] in targets
            assert service["image"] == f"tidemill/{service['build']['target']}:0.1.0", name
        else:
            assert re.fullmatch(r"[a-z-]+(/[a-z-]+)?:[\w.-]*\d[\w.-]*", service["image"]), name


def test_no_container_is_root_or_may_become_so() -> None:
    users = users_of_targets()
    for name, service in SERVICES.items():
        user = str(service.get("user") or users[service["build"]["target"]])
        assert user.partition(":")[0] not in ("0", "root", ""), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def users_of_targets() -> dict[str, str]:
    found: dict[str, str] = {}
    target = ""
    for base, name, user in USER.findall(DOCKERFILE):
        if name:
            target = name
            found[name] = found.get(base, "root")
        else:
            found[target] = user
    return found


def test_every_container_has_limits() -> None:
    for name, service in SERVICES.items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name


def test_nothing_is_published_but_what_is_needed_and_on_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"grafana": ["127.0.0.1:3000:3000"], "collector": ["127.0.0.1:24224:24224"]}
    assert [name for name, network in COMPOSE["networks"].items() if not network.get("internal")] == ["outside"]
    for name in SERVERS:
        assert "outside" not in SERVICES[name]["networks"]


def test_time_to_stop_is_longer_than_a_service_takes(tmp_path: Path) -> None:
    common = load_config(tmp_path, services={}, environ={}).common
    for name in OURS:
        seconds = int(SERVICES[name]["stop_grace_period"].rstrip("s"))
        assert seconds >= common.shutdown_after.total_seconds() + 5


def test_every_variable_is_in_the_example_with_its_default() -> None:
    said = env_file(".env.example")
    cluster = env_file("cluster.env")
    for name, defaults in variables().items():
        assert name in said or name in cluster, name
        if name in said and "" not in defaults:
            assert defaults == {said[name]}, name
    assert (said | cluster).keys() <= variables().keys()


def test_secrets_and_volumes_are_all_declared_and_all_used() -> None:
    named = [each for service in SERVICES.values() for each in service.get("secrets", ())]
    used = {each if isinstance(each, str) else each["source"] for each in named}
    assert used == set(COMPOSE["secrets"])
    for name, config in COMPOSE["configs"].items():
        assert (FOLDER / config["file"]).is_file(), name
        assert yaml.safe_load((FOLDER / config["file"]).read_text())
    logs = load("compose.logs.yaml")["services"]
    assert set(logs) == set(OURS)


def test_prometheus_asks_every_service() -> None:
    told = yaml.safe_load((FOLDER / "observability" / "prometheus.yaml").read_text())
    (job,) = [job for job in told["scrape_configs"] if job["job_name"] == "tidemill"]
    (found,) = job["dns_sd_configs"]
    assert sorted(found["names"]) == OURS
    assert found["port"] == int(image_environment()["TIDEMILL_HEALTH__PORT"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(FOLDER / "prepare", folder)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["./prepare", "cluster"], cwd=folder, env=environment, check=True, timeout=250)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.long
def test_prepare_makes_every_secret(prepared: Path) -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert (prepared / secret["file"]).stat().st_size > 0, name
    assert (prepared / "secrets").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
@pytest.mark.long
def test_certificates_are_ones_that_strict_clients_take(prepared: Path) -> None:
    """As Python 3.13 is one, which is in the images."""
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", "tls.crt", "database.crt"]
    done = subprocess.run(command, cwd=prepared / "secrets", capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.long
def test_the_bus_that_was_prepared_lets_services_in(prepared: Path) -> None:
    """nats-server itself, with its TLS, by the address that a service has in Compose."""
    port, secrets = free_port(), prepared / "secrets"
    text = (secrets / "nats.conf").read_text().replace("0.0.0.0:4222", f"127.0.0.1:{port}")
    text = text.replace("0.0.0.0:8222", f"127.0.0.1:{free_port()}").replace('"/data"', f'"{prepared / "data"}"')
    (prepared / "nats.conf").write_text(text.replace("/run/secrets", str(secrets)))
    url = SERVICES["watcher"]["environment"]["NATS_URL"].replace("@nats:4222", f"@localhost:{port}")
    url = url.replace("/run/secrets/nats", f"{secrets}/nats-watcher").replace("/run/secrets", str(secrets))
    with subprocess.Popen([nats_binary(), "-c", prepared / "nats.conf"], stderr=subprocess.DEVNULL) as server:
        try:
            asyncio.run(comes_in(url))
        finally:
            server.terminate()


async def comes_in(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            async with open_client(url) as client:
                assert client.connected_url is not None
                return
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.long
def test_the_database_that_was_prepared_lets_in_by_tls(prepared: Path, tmp_path: Path) -> None:
    """Postgres itself by the words of compose.yaml, and the address that `migrate` has there."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no Postgres of Debian, and that of the wheel was built without TLS")
    server = Installed(tmp_path / "postgres", found[-1], prepared / "secrets")
    server.start()
    try:
        url = SERVICES["migrate"]["environment"]["DATABASE_URL"].replace("@postgres:5432/tidemill", server.place)
        url = url.replace("{file:/run/secrets/postgres}", f"{{file:{server.folder}/password}}")
        url = url.replace("/run/secrets", str(prepared / "secrets"))
        assert asyncio.run(encrypted(url)) is True
        with pytest.raises(ssl.SSLError):
            asyncio.run(encrypted(url.replace("ca.crt", "tls.crt")))  # Another authority.
    finally:
        server.stop()


class Installed(PostgresServer):
    """Another than that of the wheel, begun as compose.yaml has it."""

    def __init__(self, folder: Path, program: Path, secrets: Path) -> None:
        super().__init__(folder, tcp=True)
        self._program = program
        self._secrets = secrets

    @property
    def place(self) -> str:
        return f"@localhost:{self._tcp_port}/postgres"

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        super().prepare()
        for name in ("database.crt", "database.key"):  # Readable for all in the container; here the folder is closed.
            shutil.copy(self._secrets / name, self.folder)

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.write_text("fresh water")
        password.chmod(0o644)
        words = ("-U", "postgres", "--auth-host=scram-sha-256", f"--pwfile={password}")
        self._run(self._program.parent / "initdb", "-D", self.data, *words)

    def command(self) -> list[str | Path]:
        (script,) = SERVICES["postgres"]["command"]
        mine = f"{self._program} -D {self.data} -k {self.folder} -p {self._tcp_port} -h 127.0.0.1"
        script = script.replace("docker-entrypoint.sh postgres", mine)
        script = script.replace("/run/secrets", str(self.folder)).replace("/var/run/postgresql", str(self.data))
        shell, *words = SERVICES["postgres"]["entrypoint"]
        return [shutil.which(shell) or shell, *words, script]


async def encrypted(url: str) -> object:
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    finally:
        await engine.dispose()
