"""What is generated for those who deploy: users of NATS, roles of Postgres."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path

import asyncpg
import bcrypt
import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.cli.roles_sql import scram
from tidemill.common.service import service_names
from tidemill.common.testing.fixtures import NewDatabase

USERS = [*service_names(), "operator", "trigger", "system", "route"]


def test_missing_passwords_are_told_and_made_only_when_asked_for(tmp_path: Path) -> None:
    command = ["nats-config", "--passwords", str(tmp_path)]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "--make makes those that are missing" in refused.output
    assert CliRunner().invoke(app, [*command, "--make"]).exit_code == 0
    files = {file.name: file for file in tmp_path.iterdir()}
    assert sorted(files) == sorted(f"nats-{user}" for user in USERS)
    assert {file.stat().st_mode & 0o777 for file in files.values()} == {0o600}
    before = files["nats-scraper"].read_text()
    assert CliRunner().invoke(app, [*command, "--make"]).exit_code == 0
    assert files["nats-scraper"].read_text() == before
    files["nats-scraper"].write_text("\n")
    assert "nats-scraper is empty" in CliRunner().invoke(app, command).output


def test_one_server_is_printed_with_hashed_passwords(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["nats-config", "--passwords", str(tmp_path), "--make", "--tls", "/tls"]).output
    assert 'cert_file": "/tls/tls.crt"' in shown
    assert "cluster" not in shown
    hashed = dict(re.findall(r'"user": "(\w+)",\s+"password": "([^"]+)"', shown))
    assert sorted(hashed) == sorted(set(USERS) - {"route"})
    for user, kept in hashed.items():
        assert bcrypt.checkpw((tmp_path / f"nats-{user}").read_bytes(), kept.encode())


def test_a_cluster_needs_a_place_for_its_files(tmp_path: Path) -> None:
    command = ["nats-config", "--passwords", str(tmp_path), "--make", "--server", "a", "--server", "b"]
    assert "say where with --to" in CliRunner().invoke(app, command).output
    assert CliRunner().invoke(app, [*command, "--to", str(tmp_path / "to")]).exit_code == 0
    first = (tmp_path / "to" / "a.conf").read_text()
    assert "@b:6222" in first
    assert "@a:6222" not in first


def test_the_accounts_alone_are_json_for_the_chart_of_nats(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["nats-config", "--passwords", str(tmp_path), "--make", "--accounts-only"])
    made = json.loads(shown.output)
    names = [user["user"] for user in made["accounts"]["TIDEMILL"]["users"]]
    assert names == [*service_names(), "operator", "trigger"]
    assert made["system_account"] == "SYSTEM"


def test_streams_are_made_as_declared(nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    for _ in range(2):
        assert "10 streams are as declared, each on 1 server\n" in CliRunner().invoke(app, ["streams"]).output
    refused = CliRunner().invoke(app, ["streams", "--set", "stream_replicas=3"])
    assert refused.exit_code == 1
    assert "replicas > 1 not supported" in refused.output


async def test_roles_are_printed_and_made(
    tmp_path: Path, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidemill.common.service import find_services

    url = new_database(*find_services())
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", url)
    command = ["database-roles", "--passwords", str(tmp_path), "--make"]
    printed = CliRunner().invoke(app, command).output
    password = (tmp_path / "database-scraper").read_text()
    assert password not in printed
    assert "GRANT SELECT ON ALL TABLES" in printed
    connection = await asyncpg.connect(url)
    await connection.execute(printed)
    role = await connection.fetchrow("SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'tidemill_scraper'")
    assert tuple(role) == (True, False)
    for role, table, may in (
        ("tidemill_scraper", "scraper.targets", True),
        ("tidemill_scraper", "scheduler.runs", False),
        ("tidemill_reporter", "scheduler.runs", True),
        ("tidemill_reader", "alerter.alerts", True),
    ):
        assert await connection.fetchval(f"SELECT has_table_privilege('{role}', '{table}', 'SELECT')") is may
    await connection.close()


def test_what_postgres_keeps_of_a_password_proves_it() -> None:
    rounds, salt, stored, server = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)", scram("secret")).groups()  # type: ignore[union-attr]
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", base64.b64decode(salt), int(rounds))
    assert base64.b64decode(stored) == hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert base64.b64decode(server) == hmac.digest(salted, b"Server Key", "sha256")
