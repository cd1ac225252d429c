"""Overlays: what an environment changes in the files below it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config import ConfigError, load_config, load_sources
from tidemill.common.config.content import digest, environments, read_content
from tidemill.common.config.errors import Origin
from tidemill.common.config.layers import Layer
from tidemill.common.config.settings import Settings

PRODUCTION = {"TIDEMILL_ENV": "production"}


class MillSettings(Settings):
    stones: int = 1
    name: str = "mill"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/').replace('_', '.')}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


def test_an_overlay_changes_what_it_names_and_its_lines_are_the_origins(tmp_path: Path) -> None:
    write(tmp_path, tidemill="log: {level: info, format: json}\n", tidemill_production="log:\n  level: error\n")
    config = load_config(tmp_path, services={}, environ=PRODUCTION)
    assert (config.common.log.level, config.common.log.format) == ("error", "json")
    assert str(config.origins["log.level"]) == "tidemill.production.yaml:2"
    assert str(config.origins["log.format"]) == "tidemill.yaml:1"
    assert config.environment == "production"


def test_without_an_environment_and_in_another_one_it_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, tidemill="log: {level: info}\n", tidemill_production="log: {level: error}\n")
    for environ in ({}, {"TIDEMILL_ENV": "staging"}, {"TIDEMILL_ENV": ""}):
        assert load_config(tmp_path, services={}, environ=environ).common.log.level == "info"


def test_an_overlay_may_stand_alone_for_settings(tmp_path: Path) -> None:
    write(tmp_path, tidemill_production="log: {level: error}\n")
    assert load_config(tmp_path, services={}, environ=PRODUCTION).common.log.level == "error"


def test_variables_and_the_command_line_are_over_overlays(tmp_path: Path) -> None:
    write(tmp_path, tidemill_production="log: {level: error, format: json}\n")
    environ = {**PRODUCTION, "TIDEMILL_LOG__LEVEL": "debug"}
    config = load_config(tmp_path, services={}, environ=environ, cli={"log.format": "console"})
    assert (config.common.log.level, config.common.log.format) == ("debug", "console")


def test_an_error_of_an_overlay_names_the_overlay(tmp_path: Path) -> None:
    write(tmp_path, tidemill="log: {level: info}\n", tidemill_production="log: {level: loud}\n")
    with pytest.raises(ConfigError, match=r"^tidemill\.production\.yaml:1:7: log\.level: loud is not possible"):
        load_config(tmp_path, services={}, environ=PRODUCTION)


def test_an_environment_has_a_name_that_fits_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"env TIDEMILL_ENV: is '\.\./x'; an environment is lower-case letters"):
        load_config(tmp_path, services={}, environ={"TIDEMILL_ENV": "../x"})


def test_a_source_has_overlays_too(tmp_path: Path) -> None:
    write(
        tmp_path,
        sources__demo="source: demo\nwatch: {folder: inbox/demo, include: ['*.json']}\n",
        sources__demo_production="watch:\n  folder: /mnt/share\n",
    )
    sources = load_sources(tmp_path / "sources", environment="production")
    watch = sources["demo"].watch
    assert watch is not None
    assert (watch.folder, watch.include) == (Path("/mnt/share"), ("*.json",))
    assert str(sources.origins["demo"]["watch.folder"]) == "sources/demo.production.yaml:2"
    plain = load_sources(tmp_path / "sources", environment="")["demo"].watch
    assert plain is not None
    assert plain.folder == tmp_path / "data/inbox/demo"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("demo.production.old.yaml", r"is not read; an overlay is sources/demo\.<environment>\.yaml"),
        ("other.production.yaml", r"has nothing below it: there is no sources/other\.yaml"),
        ("demo.yml", r"is not read; name it \.yaml"),
    ],
)
def test_files_that_nobody_would_read_are_told_of(tmp_path: Path, name: str, why: str) -> None:
    write(tmp_path, sources__demo="source: demo\n")
    (tmp_path / "sources" / name).write_text("title: x\n")
    with pytest.raises(ConfigError, match=why):
        load_sources(tmp_path / "sources", environment="")


def test_the_content_of_a_folder_is_read_as_the_folder_is(tmp_path: Path) -> None:
    write(
        tmp_path,
        tidemill="mill: {stones: 3}\n",
        tidemill_production="mill: {stones: 4}\n",
        sources__demo="source: demo\n",
        sources__demo_production="title: Production\n",
    )
    content = read_content(tmp_path, tmp_path / "sources")
    assert set(content) == {
        "tidemill.yaml",
        "tidemill.production.yaml",
        "sources/demo.yaml",
        "sources/demo.production.yaml",
    }
    assert environments(content) == {"production"}
    elsewhere = tmp_path / "elsewhere"
    config = load_config(elsewhere, services={"mill": MillSettings}, environ=PRODUCTION, content=content)
    assert config.service("mill").stones == 4
    sources = load_sources(elsewhere / "sources", content=content, environment="production", version=7)
    assert (sources["demo"].title, sources.version) == ("Production", 7)
    assert digest(content) == digest(dict(reversed(content.items())))
    assert digest(content) != digest({**content, "tidemill.yaml": ""})


def test_what_editors_hide_beside_a_file_is_no_source(tmp_path: Path) -> None:
    write(tmp_path, sources__demo="source: demo\n")
    (tmp_path / "sources/.#demo.yaml").symlink_to("nobody@nowhere")
    (tmp_path / "sources/.demo.yaml").write_text("half a f")
    assert set(load_sources(tmp_path / "sources", environment="")) == {"demo"}
    assert set(read_content(tmp_path, tmp_path / "sources")) == {"sources/demo.yaml"}


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "tidemill.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"tidemill\.yaml: is not UTF-8"):
        read_content(tmp_path, tmp_path / "sources")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
TREES = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def layer_of(tree: dict[str, Any], name: str) -> Layer:
    origins: dict[tuple[str | int, ...], Origin] = {(): Origin("file", name)}

    def walk(inner: dict[str, Any], path: tuple[str | int, ...]) -> None:
        for key, value in inner.items():
            origins[(*path, key)] = Origin("file", name)
            if isinstance(value, dict):
                walk(value, (*path, key))

    walk(tree, ())
    return Layer(tree, origins)


def merged(lower: Any, upper: Any) -> Any:
    if not (isinstance(lower, dict) and isinstance(upper, dict)):
        return upper
    return {
        key: merged(lower[key], upper[key]) if key in lower and key in upper else {**lower, **upper}[key]
        for key in {**lower, **upper}
    }


def leaf_paths(tree: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [
        found
        for key, value in tree.items()
        for found in (leaf_paths(value, (*path, key)) if isinstance(value, dict) else [(*path, key)])
    ]


def holds(tree: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


@given(TREES, TREES)
def test_an_overlay_is_merged_deeply_and_every_value_knows_its_file(lower: Any, upper: Any) -> None:
    layer = layer_of(lower, "lower")
    expected = merged(lower, upper)
    places = {path: "upper" if holds(upper, path) else "lower" for path in leaf_paths(expected)}
    layer.overlay(layer_of(upper, "upper"))
    assert layer.data == expected
    assert {path: str(layer.origin(path)) for path in places} == places
