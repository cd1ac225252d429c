from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.config import ConfigError, SourceFile, Sources, Watch, load_sources

DEMO = "source: demo\nwatch: {folder: inbox/demo, include: ['*.pdf']}\nconvert: {with: json}\n"


def wants_items(options: Mapping[str, Any]) -> str | None:
    return None if set(options) <= {"items"} else f"unknown option {', '.join(sorted(options))}; valid: items"


CONVERTERS = {"json": wants_items, "szerencsemix": lambda options: None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    return folder


def load(folder: Path, **files: str) -> Sources:
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.yaml").write_text(text, encoding="utf-8")
    return load_sources(folder, converters=CONVERTERS)


def problems(folder: Path, **files: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, **files)
    return [str(problem) for problem in caught.value.problems]


def watching(source: str, watch: str) -> str:
    return f"source: {source}\nwatch: {{{watch}}}\n"


def test_a_source_file_is_read_with_its_defaults(folder: Path) -> None:
    sources = load(folder, demo=DEMO)
    assert list(sources) == ["demo"]
    assert len(sources) == 1
    demo = sources["demo"]
    assert demo.watch is not None
    assert demo.convert is not None
    assert demo.watch.include == ("*.pdf",)
    assert demo.watch.max_size == 200_000_000
    assert demo.convert.limits.memory == 512_000_000
    assert sources.files["demo"] == folder / "demo.yaml"
    assert str(sources.origins["demo"]["watch.include"]) == "sources/demo.yaml:2"
    assert str(sources.origins["demo"]["watch.exclude"]) == "default"


def test_watched_folders_are_below_the_data_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "demo.yaml").write_text(DEMO)
    demo = load_sources(folder)["demo"]
    assert demo.watch is not None
    assert demo.watch.folder == tmp_path / "data" / "inbox" / "demo"
    demo = load_sources(folder, Path("/kept"))["demo"]
    assert demo.watch is not None
    assert demo.watch.folder == Path("/kept/inbox/demo")


def test_no_folder_is_no_source(tmp_path: Path) -> None:
    assert dict(load_sources(tmp_path / "missing")) == {}


@pytest.mark.parametrize("path", ["..", "../x", "inbox/../../x"])
def test_a_folder_that_leads_out_of_the_data_folder_is_refused(folder: Path, path: str) -> None:
    (found,) = problems(folder, demo=watching("demo", f"folder: {path}"))
    assert found.startswith("sources/demo.yaml:2:9: watch.folder: ")
    assert "leads out of data_dir; write the absolute path if that is meant" in found


@pytest.mark.parametrize("own", [".", "archive", "postgres/pgdata", "nats", "run"])
def test_a_source_never_watches_what_tidemill_keeps_itself(folder: Path, own: str) -> None:
    with pytest.raises(ConfigError, match="Tidemill's own"):
        load(folder, a=f"source: a\nwatch: {{folder: {own}}}")


def test_an_absolute_folder_is_meant(folder: Path) -> None:
    watch = load(folder, demo=watching("demo", "folder: /mnt/share/../scans"))["demo"].watch
    assert watch is not None
    assert watch.folder == Path("/mnt/scans")


def test_a_folder_whose_name_begins_with_dots_is_inside(folder: Path) -> None:
    assert load(folder, demo=watching("demo", "folder: ..x"))["demo"].watch


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source: Demo\n", 'source: "Demo" does not have the form ^[a-z0-9]'),
        ("title: x\n", "source: is missing; it has no default"),
        ("source: demo\nwach: {}\n", "wach: unknown key; did you mean watch?"),
        ("source: demo\nwatch: {folder: a, include: []}\n", "watch.include: "),
        ("source: demo\nwatch: {folder: a, include: ['', x]}\n", "watch.include[0]: "),
        (
            "source: demo\nwatch: {folder: a, method: nativ}\n",
            "did you mean native? Valid values: auto, native, polling",
        ),
        ("source: demo\nwatch: {folder: a, poll_every: 0s}\n", "watch.poll_every: must be longer than 0s"),
        (
            "source: demo\nwatch: {folder: a, min_size: 2MB, max_size: 1MB}\n",
            "watch: min_size 2MB is more than max_size 1MB",
        ),
        (
            "source: demo\nwatch: {folder: a, priority: [{pattern: x, lane: high}]}\n",
            "watch.priority[0].lane: high is not",
        ),
        ("source: demo\nconvert: {with: jsn}\n", "convert.with: jsn is not possible here; did you mean json?"),
        (
            "source: demo\nconvert: {with: json, options: {item: x}}\n",
            "convert.options: unknown option item; valid: items",
        ),
        ("source: demo\nconvert: {options: {}}\n", "convert.with: is missing"),
        ("source: demo\nconvert: {with: json, limits: {cpu: 60}}\n", "convert.limits.cpu: 60 has no unit"),
        (
            "source: demo\nconvert: {with: json, limits: {pages: 0}}\n",
            "convert.limits.pages: must be more than 0, not 0",
        ),
    ],
)
def test_a_wrong_source_file_says_what_would_be_right(folder: Path, text: str, said: str) -> None:
    (found,) = problems(folder, demo=text)
    assert found.startswith("sources/demo.yaml:")
    assert said in found


def test_a_source_has_the_name_of_its_file(folder: Path) -> None:
    assert problems(folder, other=DEMO) == [
        "sources/other.yaml:1:1: source: is demo, but the file is other.yaml; give both the same name"
    ]


def test_a_file_that_would_be_overlooked_is_refused(folder: Path) -> None:
    (folder / "demo.yml").write_text(DEMO)
    assert problems(folder) == ["sources/demo.yml: is not read; name it .yaml"]


def test_all_files_are_checked_before_anything_is_told(folder: Path) -> None:
    found = problems(folder, a="source: a\nx: 1\n", b="source: b\n\tx: 1\n", c=watching("c", "folder: in"))
    assert [line.split(":")[0] for line in found] == ["sources/a.yaml", "sources/b.yaml"]


def test_two_sources_that_would_take_the_same_file_are_refused(folder: Path, tmp_path: Path) -> None:
    assert problems(
        folder,
        a=watching("a", "folder: in, include: ['*.pdf', '*.txt']"),
        b=watching("b", "folder: in/./deep, include: ['x*']"),
        c=watching("c", "folder: inner"),
    ) == [
        f"sources/a.yaml:2:21: watch.include: would take {tmp_path}/data/in/deep/x.pdf, which b takes too; "
        "set them apart by include and exclude"
    ]


def test_sources_share_a_folder_if_their_files_are_told_apart(folder: Path) -> None:
    files = {
        "a": watching("a", "folder: in, include: ['*.pdf'], exclude: ['urgent*']"),
        "b": watching("b", "folder: in, include: ['urgent*.pdf']"),
        "c": watching("c", "folder: in/json, include: ['*.json']"),
    }
    assert len(load(folder, **files)) == 3


def test_a_nested_folder_is_apart_from_one_that_is_not_recursive(folder: Path) -> None:
    files = {"a": watching("a", "folder: in/sub"), "b": watching("b", "folder: in, recursive: false")}
    assert len(load(folder, **files)) == 2


def test_a_file_is_rejected_with_the_reason() -> None:
    watch = Watch.model_validate({"folder": "in", "include": ["*.pdf"]})
    assert watch.rejection("a/b.PDF") is None
    assert watch.rejection("b.txt") == "not included"
    assert watch.rejection("~$b.pdf") == "excluded by ~$*"


def test_the_first_priority_that_fits_decides_on_the_lane() -> None:
    rules = [{"pattern": "*late*", "lane": "lo"}, {"pattern": "*urgent*", "lane": "hi"}]
    watch = Watch.model_validate({"folder": "in", "priority": rules})
    assert [watch.lane(name) for name in ("urgent.pdf", "x/URGENT", "urgent late", "other")] == ["hi", "hi", "lo", "lo"]


def test_a_source_without_watch_and_convert_is_one_that_only_waits() -> None:
    assert SourceFile(source="demo").convert is None


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "---\n"])
def test_what_an_empty_file_lacks_is_told_with_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources/paper.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"^sources/paper\.yaml.*source: is missing"):
        load_sources(tmp_path / "sources")


SCRAPED = """\
source: homes
scrape:
  search:
    url: "https://example.org/{city}"
    each: {city: [Vaduz]}
    items: {css: li}
    link: {css: a, attribute: href}
    carry: {price: {css: b}}
extract:
  fields:
    price: {from: {carried: price}}
    city: {from: {carried: CITY}}
"""


def test_what_a_field_takes_from_its_entry_is_carried_by_one(folder: Path) -> None:
    assert load(folder, homes=SCRAPED.replace("CITY", "city"))["homes"].extract is not None
    [problem] = problems(folder, homes=SCRAPED.replace("CITY", "town"))
    assert "extract has carried: town, which no entry carries. Valid names: city, price" in problem
