import json
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr

from tidemill.common.config import (
    ByteSize,
    CommonSettings,
    Config,
    ConfigError,
    Duration,
    ServerUrl,
    Settings,
    load_config,
    masked,
    parse_assignments,
    printable,
    settings_model,
)
from tidemill.common.config.layers import leaves
from tidemill.common.config.reference import reference, settings_schema, source_schema


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Basket(Settings):
    """What is caught."""

    mesh: Annotated[int, Field(ge=1, lt=100)] = 5
    """Millimetres between two threads."""
    share: float = 0.5
    colour: Colour = Colour.RED
    kind: Literal["eel", "trout"] = "eel"


class MillSettings(Settings):
    """The mill's own."""

    turn_every: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=2)
    """How often the wheel turns."""
    sack: ByteSize = 50_000_000
    token: SecretStr | None = None
    name: str = "mill"
    folder: Path = Path("flour")
    upstream: ServerUrl | None = None
    wet: bool = True
    grains: tuple[str, ...] = ("rye",)
    weights: dict[str, int] = Field(default_factory=dict)
    basket: Basket = Basket()
    baskets: tuple[Basket, ...] = ()


SERVICES = {"mill": MillSettings}


def load(
    folder: Path, text: str = "", *, cli: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    (folder / "tidemill.yaml").write_text(text, encoding="utf-8")
    return load_config(folder, services=SERVICES, cli=cli, environ=environ or {})


def problems(
    folder: Path, text: str = "", *, cli: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, cli=cli, environ=environ)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def test_without_any_file_the_defaults_hold(tmp_path: Path) -> None:
    config = load_config(tmp_path, services=SERVICES, environ={})
    assert config.service("mill") == MillSettings()
    assert config.common.log.level == "info"
    assert set(map(str, config.origins.values())) == {"default"}


def test_each_place_wins_over_the_one_before_it(tmp_path: Path) -> None:
    text = "mill:\n  name: file\n  sack: 1KB\n  basket: {mesh: 7}\n"
    environ = {"TIDEMILL_MILL__NAME": "env", "TIDEMILL_MILL__BASKET__KIND": "trout"}
    config = load(tmp_path, text, environ=environ, cli={"mill.name": "cli"})
    mill = config.service("mill")
    assert (mill.name, mill.sack, mill.basket) == ("cli", 1000, Basket(mesh=7, kind="trout"))
    assert {key: str(origin) for key, origin in config.origins.items() if str(origin) != "default"} == {
        "mill.name": "--set mill.name",
        "mill.sack": "tidemill.yaml:3",
        "mill.basket.mesh": "tidemill.yaml:4",
        "mill.basket.kind": "env TIDEMILL_MILL__BASKET__KIND",
    }


def test_a_list_is_replaced_and_a_mapping_is_merged(tmp_path: Path) -> None:
    text = "mill:\n  grains: [rye, oats]\n  weights: {rye: 1, oats: 2}\n"
    config = load(tmp_path, text, cli={"mill.grains": "[wheat]", "mill.weights.oats": "3"})
    assert config.service("mill").grains == ("wheat",)
    assert config.service("mill").weights == {"rye": 1, "oats": 3}


def test_a_whole_section_and_one_of_its_keys_may_both_be_in_the_environment(tmp_path: Path) -> None:
    environ = {"TIDEMILL_LOG__LEVEL": "debug", "TIDEMILL_LOG": "{level: error, format: json}"}
    log = load(tmp_path, environ=environ).common.log
    assert (log.level, log.format) == ("debug", "json")


def test_the_plain_variables_of_servers_are_understood_and_the_prefixed_ones_win(tmp_path: Path) -> None:
    environ = {"NATS_URL": "nats://a", "TIDEMILL_NATS_URL": "nats://b", "REDIS_URL": "redis://r", "DATABASE_URL": " "}
    config = load(tmp_path, environ=environ)
    assert (config.common.nats_url, config.common.redis_url, config.common.database_url) == (
        "nats://b",
        "redis://r",
        None,
    )
    assert str(config.origins["redis_url"]) == "env REDIS_URL"


def test_variables_of_tests_are_no_settings(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"TIDEMILL_TEST_DATA": "x"}).origins == load(tmp_path).origins


def test_a_text_setting_keeps_what_looks_like_a_number(tmp_path: Path) -> None:
    environ = {"TIDEMILL_MILL__NAME": "0123", "TIDEMILL_MILL__TOKEN": "42", "TIDEMILL_MILL__FOLDER": "7"}
    mill = load(tmp_path, environ=environ, cli={"mill.grains": "[a]"}).service("mill")
    assert (mill.name, mill.token.get_secret_value(), mill.folder) == ("0123", "42", Path("7"))
    assert load(tmp_path, cli={"mill.name": "true"}).service("mill").name == "true"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    broken = b"a\xff".decode(errors="surrogateescape")
    assert problems(tmp_path, environ={"TIDEMILL_MILL__NAME": broken}) == [
        "env TIDEMILL_MILL__NAME: mill.name: is not UTF-8"
    ]


def test_null_takes_a_setting_back(tmp_path: Path) -> None:
    assert load(tmp_path, "nats_url: nats://a\n", cli={"nats_url": "null"}).common.nats_url is None


def test_folders_are_relative_to_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, "data_dir: kept\nsources_dir: /elsewhere\n")
    assert config.common.data_dir == tmp_path / "kept"
    assert config.common.sources_dir == Path("/elsewhere")


def test_an_unknown_key_is_refused_with_its_place_the_nearest_and_all_valid_ones(tmp_path: Path) -> None:
    assert problems(tmp_path, "mill:\n  basket:\n    mseh: 3\n") == [
        "tidemill.yaml:3:5: mill.basket.mseh: unknown key; did you mean mesh? Valid keys: colour, kind, mesh, share"
    ]
    (said,) = problems(tmp_path, "nats: nats://a\n")
    assert said.startswith(
        "tidemill.yaml:1:1: nats: unknown key; did you mean nats_url? Valid keys: archive_url, backup, channels"
    )


def test_an_unknown_key_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    assert problems(tmp_path, environ={"TIDEMILL_MILL__BASKET__MSEH": "1"}) == [
        "env TIDEMILL_MILL__BASKET__MSEH: mill.basket.mseh: "
        "unknown key; did you mean mesh? Valid keys: colour, kind, mesh, share"
    ]


def test_an_unknown_key_of_the_command_line_names_the_flag(tmp_path: Path) -> None:
    assert problems(tmp_path, cli={"mill.basket.weave": "1"}) == [
        "--set mill.basket.weave: unknown key. Valid keys: colour, kind, mesh, share"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("turn_every: 5", "turn_every: 5 has no unit; write a number and its unit: 500ms, 2s, 5m, 1h or 7d"),
        ("turn_every: 5x", "turn_every: '5x' is not a length of time; write a number and its unit: 500ms"),
        ("turn_every: 0s", 'turn_every: must be more than 0s, not "0s"'),
        ("sack: 1", "sack: 1 has no unit; write a number and its unit: 512B"),
        ("wet: yes", 'wet: must be true or false, not "yes"'),
        ("wet: 'true'", 'wet: must be true or false, not "true"'),
        ("name: 5", "name: must be text, not 5; put it in quotes"),
        ("name: true", "name: must be text, not true; put it in quotes"),
        ("name: [a]", "name: must be text, not a list"),
        ("grains: rye", 'grains: must be a list, not "rye"'),
        ("grains: [1]", "grains[0]: must be text, not 1; put it in quotes"),
        ("basket: 5", "basket: must hold keys of its own, not 5. Valid keys: colour, kind, mesh, share"),
        ("basket:", "basket: must hold keys of its own, not nothing. Valid keys: colour, kind, mesh, share"),
        ("basket: {mesh: '5'}", 'basket.mesh: must be a whole number, not "5"'),
        ("basket: {mesh: 1.5}", "basket.mesh: must be a whole number, not 1.5"),
        ("basket: {mesh: 0}", "basket.mesh: must be at least 1, not 0"),
        ("basket: {mesh: 100}", "basket.mesh: must be less than 100, not 100"),
        ("basket: {share: no}", 'basket.share: must be a number, not "no"'),
        (
            "basket: {kind: trot}",
            "basket.kind: trot is not possible here; did you mean trout? Valid values: eel, trout",
        ),
        ("basket: {kind: 5}", "basket.kind: 5 is not possible here. Valid values: eel, trout"),
        ("basket: {colour: rde}", "basket.colour: rde is not possible here; did you mean red? Valid values: blue, red"),
        ("baskets: [{}, {mesh: 0}]", "baskets[1].mesh: must be at least 1, not 0"),
        ("weights: {rye: a}", 'weights.rye: must be a whole number, not "a"'),
        ("upstream: host", "upstream: is not a URL; it starts with its scheme"),
    ],
)
def test_a_wrong_value_says_what_would_be_right(tmp_path: Path, line: str, said: str) -> None:
    (found,) = problems(tmp_path, f"mill:\n  {line}\n")
    assert found.startswith("tidemill.yaml:2:")
    assert said in found


def test_the_limit_of_a_length_of_time_is_told_as_one_is_written(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "retention:\n  history: 1s\n")
    assert 'retention.history: must be at least 1d, not "1s"' in found


def test_a_very_long_value_is_cut(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f"mill: {{wet: {'x' * 500}}}\n")
    assert len(found) < 200


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "mill:\n  wett: true\n  sack: 5\nlog:\n  level: loud\n",
        environ={"TIDEMILL_MILL__WEIGHTS": "{a"},
        cli={"mil.sack": "5KB"},
    )
    assert [line.split(": ")[0] for line in found] == [
        "env TIDEMILL_MILL__WEIGHTS",
        "--set mil.sack",
        "tidemill.yaml:2:3",
        "tidemill.yaml:3:3",
        "tidemill.yaml:5:3",
    ]


def test_a_broken_file_and_a_broken_variable_are_both_told(tmp_path: Path) -> None:
    found = problems(tmp_path, "log: [\n", environ={"TIDEMILL_LOG__LEVEL": "loud"})
    assert [line.split(": ")[0] for line in found] == ["tidemill.yaml:2:1", "env TIDEMILL_LOG__LEVEL"]


def test_a_problem_gives_its_parts_to_programs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "mill:\n  wett: true\n", environ={"NATS_URL": "x"})
    of_environment, of_file = caught.value.problems
    assert (of_file.file, of_file.line, of_file.column, of_file.key) == ("tidemill.yaml", 2, 3, "mill.wett")
    assert (of_environment.file, of_environment.line) == ("", None)


def test_the_section_of_a_service_that_runs_elsewhere_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "tidemill_sawmill-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tidemill-sawmill\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[tidemill.services]\nsawmill = sawmill:SPEC\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tidemill.yaml").write_text("sawmill: {whatever: 1}\n")
    config = load_config(tmp_path, services={}, environ={"TIDEMILL_SAWMILL__BLADE": "sharp"})
    assert not hasattr(config.common, "sawmill")


def test_an_assignment_without_a_value_is_refused() -> None:
    assert parse_assignments(["a.b=c=d", " e = "]) == {"a.b": "c=d", "e": " "}
    with pytest.raises(ConfigError, match=r"--set log\.level: has no value; write --set key=value"):
        parse_assignments(["log.level"])


SECRET = "s3cret/W@rd"


@pytest.mark.parametrize(
    "url",
    [
        f"nats://user:{SECRET}@host:4222",
        f"nats://a:4222,nats://user:{SECRET}@b:4222",
        f"nats://user:{SECRET}@a:4222,nats://user:{SECRET}@b:4222",
        "nats://s3cret@host",
        f"redis://:{SECRET}@host/0",
        f"postgresql+asyncpg://user:{SECRET}@host/db?sslmode=require",
        "postgresql://host/db?user=u&password=s3cret",
        "s3://bucket/prefix?aws_secret_access_key=s3cret&region=eu",
        "https://host/hook?X-Amz-Signature=s3cret",
    ],
)
def test_passwords_of_urls_are_masked_everywhere(tmp_path: Path, url: str) -> None:
    config = load(tmp_path, environ={"TIDEMILL_MILL__UPSTREAM": url})
    mill = config.service("mill")
    assert str(mill.upstream) == url
    seen = [repr(mill.upstream), repr(mill), repr(config), masked(f"cannot reach {url}: refused"), str(printable(mill))]
    seen += [str(list(leaves(mill)))]
    assert not any("s3cret" in text for text in seen)
    assert "refused" in masked(f"cannot reach {url}: refused")


@pytest.mark.parametrize(
    "text",
    ["http://host:8080/users/@me", "mail a@b.c", "nats://host:4222", "see https://h/p?page=2", "a:b@c", "user@host:/x"],
)
def test_what_is_no_password_is_left_alone(text: str) -> None:
    assert masked(text) == text


def test_secrets_are_masked_in_errors_and_wherever_settings_are_printed(tmp_path: Path) -> None:
    config = load(tmp_path, f"mill: {{token: {SECRET}}}\n")
    assert config.service("mill").token.get_secret_value() == SECRET
    assert "s3cret" not in repr(config) + str(printable(config.common)) + str(list(leaves(config.common)))
    (found,) = problems(tmp_path, "mill:\n  token: [s3cret]\n")
    assert found == "tidemill.yaml:2:3: mill.token: must be text, not this secret"
    assert "s3cret" not in str(problems(tmp_path, "mill:\n  kind: x\n  wet: nats://user:s3cret@h\n"))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        MillSettings().name = "x"  # type: ignore[misc]


def test_the_reference_has_every_key_with_its_description_and_default() -> None:
    page = reference(settings_model(SERVICES))
    assert "| `mill.turn_every` | length of time | `2s` | How often the wheel turns. |" in page
    assert "| `mill.sack` | amount of bytes | `50MB` |  |" in page
    assert "| `mill.token` | secret |  |  |" in page
    assert "| `mill.wet` | `true` or `false` | `true` |  |" in page
    assert '| `mill.grains` | list of text | `["rye"]` |  |' in page
    assert "### `mill.baskets[]`\n\nWhat is caught.\n" in page
    assert "| `mill.baskets[].mesh` | whole number | `5` | Millimetres between two threads. |" in page
    for path, _ in leaves(CommonSettings()):
        assert f"`{'.'.join(map(str, path))}`" in page


def test_every_common_setting_has_a_description() -> None:
    documents = (settings_schema(CommonSettings), source_schema())
    for schema in [schema for document in documents for schema in (document, *document["$defs"].values())]:
        assert schema.get("description")
        assert [
            name for name, entry in schema["properties"].items() if not ("description" in entry or "$ref" in entry)
        ] == [name for name in ("watch",) if name in schema["properties"]]


def test_the_schema_refuses_unknown_keys_and_writes_defaults_with_their_unit() -> None:
    schema = settings_schema(settings_model(SERVICES))
    assert json.loads(json.dumps(schema)) == schema
    assert schema["additionalProperties"] is False
    assert schema["properties"]["shutdown_after"]["default"] == "20s"
    assert schema["$defs"]["MillSettings"]["properties"]["sack"]["default"] == "50MB"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("database_url: mysql://a/b", "begins with mysql://; valid: postgresql://, postgres://"),
        ("nats_url: nats://a:4222,http://b", "begins with http://; valid: nats://"),
        ("redis_url: http://a", "begins with http://; valid: redis://"),
        ("archive_url: ftp://a", "begins with ftp://; valid: file://, s3://"),
        ("database_url: postgresql://me:70000@a:70001/b", "has port 70001; the highest is 65535"),
        ("nats_url: 'nats://a:4222,nats://[::1]:65536'", "has port 65536"),
    ],
)
def test_an_address_of_another_kind_of_server_is_refused_with_the_valid_ones(
    tmp_path: Path, line: str, said: str
) -> None:
    (found,) = problems(tmp_path, f"{line}\n")
    assert found.startswith("tidemill.yaml:1:")
    assert said in found


@pytest.mark.parametrize(
    "line", ["database_url: POSTGRES://a/b", "nats_url: 'nats://a:4222,b:4222, tls://c'", "redis_url: '${env:REDIS}'"]
)
def test_the_addresses_that_work_are_accepted(tmp_path: Path, line: str) -> None:
    (tmp_path / "tidemill.yaml").write_text(f"{line}\n")
    load_config(tmp_path, services={}, environ={})
