"""Secrets that the configuration names: where they may stand, what they become, and where they never appear."""

from collections.abc import Mapping
from pathlib import Path

import pyrage
import pytest
from pydantic import SecretStr

from tidemill.common.config import ConfigError, ServerUrl, Settings, load_config, masked, printable
from tidemill.common.config.layers import Layer, leaves
from tidemill.common.config.references import IDENTITY, Secret, UnresolvedReference, resolved
from tidemill.common.config.secret_places import written_out
from tidemill.common.config.yamlfile import parse_yaml
from tidemill.common.telemetry.logs import clean


class MillSettings(Settings):
    token: Secret | None = None
    old_token: SecretStr | None = None
    upstream: ServerUrl | None = None
    headers: dict[str, Secret] = {}  # noqa: RUF012 - a field of a model
    name: str = "mill"
    stones: int = 2


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> MillSettings:
    (folder / "tidemill.yaml").write_text(text, encoding="utf-8")
    found = load_config(folder, services={"mill": MillSettings}, environ=environ or {}).service("mill")
    assert isinstance(found, MillSettings)
    return found


def test_an_environment_variable_is_read_when_the_secret_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill = load(tmp_path, "mill: {token: '${env:MILL_TOKEN}', headers: {Authorization: 'Bearer ${env:MILL_TOKEN}'}}")
    monkeypatch.setenv("MILL_TOKEN", "canary-one")
    assert mill.token
    assert mill.token.fetch() == "canary-one"
    assert mill.headers["Authorization"].fetch() == "Bearer canary-one"
    monkeypatch.setenv("MILL_TOKEN", "canary-two")
    assert mill.token.fetch() == "canary-two"
    assert "canary" not in repr(mill) + str(printable(mill)) + str(list(leaves(mill)))


def test_a_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary-file\n")
    mill = load(tmp_path, f"mill: {{token: '${{file:{tmp_path}/token}}'}}")
    assert mill.token
    assert mill.token.fetch() == "canary-file"


@pytest.mark.parametrize("armored", [False, True])
@pytest.mark.parametrize("in_file", [False, True])
def test_an_age_file_is_decrypted_with_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, armored: bool, in_file: bool
) -> None:
    identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    secret = tmp_path / "token.age"
    secret.write_bytes(pyrage.encrypt(b"canary-age\n", [identity.to_public()], armored=armored))
    keys = tmp_path / "keys.txt"
    keys.write_text(f"# created: today\n{other}\n{identity}\n")
    monkeypatch.setenv(IDENTITY, str(keys) if in_file else str(identity))
    mill = load(tmp_path, f"mill: {{token: '${{age:{secret}}}'}}")
    assert mill.token
    assert mill.token.fetch() == "canary-age"
    monkeypatch.setenv(IDENTITY, str(other))
    with pytest.raises(
        UnresolvedReference, match=r"token\.age\}: cannot be decrypted with the key in TIDEMILL_AGE_IDENTITY"
    ):
        mill.token.fetch()
    monkeypatch.setenv(IDENTITY, "AGE-SECRET-KEY-1NOTONE")
    with pytest.raises(UnresolvedReference, match="is no age secret key") as caught:
        mill.token.fetch()
    assert "NOTONE" not in str(caught.value)
    monkeypatch.delenv(IDENTITY)
    with pytest.raises(UnresolvedReference, match="needs the age key"):
        mill.token.fetch()


def test_the_password_of_a_url_may_be_named_and_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILL_PASSWORD", "c@nary/1")
    mill = load(tmp_path, "mill: {upstream: 'postgresql://me:${env:MILL_PASSWORD}@host/mill'}")
    assert mill.upstream
    assert resolved(mill.upstream) == "postgresql://me:c%40nary%2F1@host/mill"
    assert masked("refused: c@nary/1, c%40nary%2F1") == "refused: **********, **********"


def test_a_whole_url_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILL_URL", "nats://me:canary@host")
    mill = load(tmp_path, "mill: {upstream: '${env:MILL_URL}'}")
    assert mill.upstream
    assert resolved(mill.upstream) == "nats://me:canary@host"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("${env:MILL_NOT_SET}", "this environment variable is not set"),
        ("${file:/no/such/file}", "cannot be read: No such file or directory"),
        ("${age:/no/such/file}", "cannot be read: No such file or directory"),
    ],
)
def test_a_secret_that_cannot_be_had_is_named_by_its_reference(reference: str, why: str) -> None:
    with pytest.raises(UnresolvedReference) as caught:
        resolved(f"Bearer {reference}")
    assert str(caught.value) == f"{reference}: {why}"


def test_an_empty_file_and_one_that_is_no_text_are_no_secrets(tmp_path: Path) -> None:
    for content, why in ((b"\n", "is empty"), (b"\xff\xfe", "is not UTF-8")):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(UnresolvedReference, match=why):
            resolved(f"${{file:{tmp_path}/token}}")


def test_what_was_fetched_is_masked_in_every_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILL_TOKEN", "canary-in-a-log-line")
    resolved("${env:MILL_TOKEN}")
    assert clean("refused 'canary-in-a-log-line'") == "refused '**********'"


@pytest.mark.parametrize("key", ["name", "stones"])
def test_a_setting_that_is_no_secret_cannot_refer_to_one(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"tidemill\.yaml:1:8: mill\.{key}: is no secret, so it cannot refer to one"):
        load(tmp_path, f"mill: {{{key}: '${{env:MILL_TOKEN}}'}}")


@pytest.mark.parametrize("text", ["${env:}", "${file}", "${env:A", "${ age:x}"])
def test_a_reference_that_is_not_one_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="holds a reference that is not one; write"):
        load(tmp_path, f"mill: {{token: '{text}'}}")


def test_other_braces_are_text(tmp_path: Path) -> None:
    assert load(tmp_path, "mill: {name: '${day} {date} $x'}").name == "${day} {date} $x"


def places(text: str) -> list[str]:
    layer: Layer = parse_yaml(text, "tidemill.yaml")
    return [problem.key for problem in written_out(MillSettings, layer)]


def test_secrets_that_are_written_out_are_found_and_named_ones_are_fine() -> None:
    assert places("token: s3cret\nold_token: s3cret\nupstream: nats://me:s3cret@host\n") == [
        "token",
        "old_token",
        "upstream",
    ]
    assert places("headers: {Authorization: Bearer abc}\n") == ["headers.Authorization"]
    assert places("token: '${env:T}'\nupstream: 'nats://me:${file:/x}@host'\nname: mill\n") == []
    assert places("headers: {Authorization: 'Bearer ${env:T}'}\n") == []
