import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tidemill.plugin import (
    Accounting,
    Dataset,
    Described,
    Document,
    Item,
    Options,
    Outcome,
    Position,
    Progress,
    Record,
    Refusal,
    Rejected,
)
from tidemill.plugin.conformance import RULES, assert_conforms, find_breaches, find_converter, main


class Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    n: int


LINE = Dataset("test.line", Line)
SAME = Dataset("test.same", Line, same_fact=lambda known, new: True)
DATASETS = {dataset.name: dataset for dataset in (LINE, SAME)}
NAIVE = datetime(2025, 1, 1)  # noqa: DTZ001 - what a converter must not say


class Lines:
    """As a converter should be: a record for each line of a file that begins with LINES."""

    name = "lines"
    version = "1"
    api_version = 1
    datasets: tuple[str, ...] = ("test.line",)

    def options_error(self, options: Options) -> str | None:
        unknown = set(options) - {"skip"}
        return f"unknown: {', '.join(sorted(unknown))}; valid: skip" if unknown else None

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        if document.content.readline() != b"LINES\n":
            raise Refusal(Outcome.WRONG_TYPE, "It does not begin with LINES.")
        yield Described(datetime(2025, 1, 1, tzinfo=UTC), title="Lines")
        accepted = rejected = 0
        for number, line in enumerate(document.content):
            text = line.decode(errors="replace").strip()
            if text:
                accepted += 1
                yield Record("test.line", f"{number}", {"text": text, "n": number}, Position(item=number), raw=text)
            else:
                rejected += 1
                yield Rejected("blank", "nothing on it", "", Position(item=number))
        yield Progress(accepted)
        yield Accounting(None, accepted + rejected, accepted, rejected)


GOOD = Record("test.line", "k", {"text": "x", "n": 1}, Position(item=0))
SUM = Accounting(None, 1, 1, 0)


class Yields(Lines):
    """Yields what it is told to, for a document that it knows."""

    datasets = ("test.line", "test.same")

    def __init__(self, *items: Item) -> None:
        self._items = items

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        if document.content.readline() != b"LINES\n":
            raise Refusal(Outcome.WRONG_TYPE, "It does not begin with LINES.")
        yield from self._items


class Does(Lines):
    """Does something besides."""

    def __init__(self, besides: Callable[[Document, Any], object]) -> None:
        self._besides = besides

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        yield from super().convert(document, options)
        self._besides(document, options)


def changed(**members: object) -> Lines:
    converter = Lines()
    for name, value in members.items():
        setattr(converter, name, value)
    return converter


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.txt"
    path.write_text("LINES\nfirst\n\nthird\n")
    return path


def broken(converter: Any, files: Iterable[Path], options: Options | None = None) -> dict[str, str]:
    """The rules that are broken, with the first detail of each."""
    findings = find_breaches(converter, files, options, DATASETS)
    return {finding.rule: finding.detail for finding in reversed(findings)}


def test_a_good_converter_breaks_no_rule(sample: Path) -> None:
    assert broken(Lines(), [sample]) == {}
    assert_conforms(Lines(), [sample], {"skip": 1}, DATASETS)


def record(**members: Any) -> Record:
    values: dict[str, Any] = {"dataset": "test.line", "key": "k", "data": {"text": "x", "n": 1}, **members}
    return Record(**{"position": Position(item=0), **values})


@pytest.mark.parametrize(
    ("items", "rule", "detail"),
    [
        (["text", GOOD, SUM], "items", "str is no item"),
        ([Described(), Described(), GOOD, SUM], "described", "described 2 times"),
        ([GOOD, Described(), SUM], "described", "after the first record"),
        ([Described(NAIVE), GOOD, SUM], "described", "no time zone"),
        ([record(dataset="other.thing"), SUM], "datasets", "declared are test.line, test.same"),
        ([record(key=""), SUM], "keys", "1 to 800 bytes"),
        ([record(key="é" * 401), SUM], "keys", "1 to 800 bytes"),
        ([GOOD, record(data={"text": "y", "n": 1}), SUM], "keys", "comes twice, with other data"),
        ([record(data={"text": "x"}), SUM], "data", "n\n  Field required"),
        ([record(data={"text": "x", "n": float("nan")}), SUM], "data", "nan is not a JSON number"),
        ([record(data={"text": datetime.now(UTC), "n": 1}), SUM], "data", "is not a JSON value"),
        ([record(data={"text": "x", "n": [{1: 2}]}), SUM], "data", "a key is not a text"),
        ([record(valid_from=NAIVE), SUM], "facts", "no time zone"),
        ([record(quality=1.5), SUM], "facts", "quality is 1.5"),
        ([record(parent=("test.line", "nobody")), SUM], "facts", "did not come before it"),
        ([record(position=Position()), SUM], "positions", "neither page nor item"),
        ([Described(pages=2), record(position=Position(page=3)), SUM], "positions", "page 3 of 2"),
        ([record(position=Position(item=-1)), SUM], "positions", "item -1"),
        ([record(position=Position(1, (9, 0, 1, 1))), SUM], "positions", "is not left, top, right, bottom"),
        ([GOOD, Accounting(None, 2, 1, 0)], "accounting", "does not add up"),
        ([GOOD, Accounting(None, 0, 1, -1)], "accounting", "does not add up"),
        ([GOOD, SUM, SUM], "accounting", "accounted for twice"),
        ([GOOD, Rejected("no", "", "", Position(item=0)), SUM], "accounting", "0 rows are counted as rejected, 1"),
        ([Rejected("", "", "", Position(item=0)), Accounting(None, 1, 0, 1)], "accounting", "without a reason"),
        ([GOOD], "accounting", "1 records, but the accounts say otherwise"),
    ],
)
def test_items_that_break_a_rule_are_found(sample: Path, items: list[Any], rule: str, detail: str) -> None:
    found = broken(Yields(*items), [sample])
    assert list(found) == [rule]
    assert detail in found[rule]


def test_one_key_may_have_two_contents_where_the_dataset_says_how(sample: Path) -> None:
    items = [record(dataset="test.same", data={"text": text, "n": 1}) for text in "xy"]
    assert broken(Yields(*items, SUM), [sample]) == {}


def test_a_child_stands_under_its_parent(sample: Path) -> None:
    child = record(key="child", parent=("test.line", "k"))
    assert broken(Yields(GOOD, child, SUM), [sample]) == {}


def test_a_dataset_must_be_installed(sample: Path) -> None:
    converter = changed(datasets=("*",))
    findings = find_breaches(converter, [sample], datasets={})
    assert {finding.rule for finding in findings} == {"datasets"}


@pytest.mark.parametrize(
    ("converter", "rule"),
    [
        (changed(name="My Converter"), "identity"),
        (changed(version=""), "identity"),
        (changed(version=2), "identity"),
        (changed(api_version=2), "identity"),
        (changed(datasets=["test.line"]), "identity"),
        (changed(options_error=lambda options: None), "options"),
        (changed(options_error=lambda options: "no options, please"), "options"),
    ],
)
def test_a_converter_must_introduce_itself_and_check_its_options(sample: Path, converter: Lines, rule: str) -> None:
    assert list(broken(converter, [sample])) == [rule]


def use_the_name(document: Document, options: Any) -> None:
    raise Refusal(Outcome.INCOMPLETE, f"It is {document.name}.")


def count_documents(document: Document, options: Any, seen: list[str] = []) -> None:  # noqa: B006 - the mistake
    seen.append(document.sha256)
    raise Refusal(Outcome.INCOMPLETE, f"It is the {len(seen)}th.")


def roll(document: Document, options: Any) -> None:
    raise Refusal(Outcome.INCOMPLETE, f"It is {random.random()}.")


def connect(document: Document, options: Any) -> None:
    with socket.socket() as probe:
        probe.connect_ex(("127.0.0.1", 9))


def write(document: Document, options: Any) -> None:
    with open(os.devnull, "w") as file:  # noqa: PTH123
        file.write("x")


def start(document: Document, options: Any) -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


def fail(document: Document, options: Any) -> None:
    raise KeyError("kickoff")


def crash_as_outcome(document: Document, options: Any) -> None:
    raise Refusal(Outcome.CRASHED, "We crashed.")


def give_no_reason(document: Document, options: Any) -> None:
    raise Refusal(Outcome.INCOMPLETE, "")


@pytest.mark.parametrize(
    ("besides", "rule"),
    [
        (use_the_name, "same again"),
        (count_documents, "same again"),
        (roll, "same again"),
        (lambda document, options: options.update(more=1), "leaves alone"),
        (connect, "keeps to itself"),
        (write, "keeps to itself"),
        (start, "keeps to itself"),
        (fail, "never fails"),
        (crash_as_outcome, "never fails"),
        (give_no_reason, "never fails"),
    ],
)
def test_what_a_converter_does_besides_is_found(sample: Path, besides: Any, rule: str) -> None:
    assert rule in broken(Does(besides), [sample], {"skip": 1})


def test_the_quality_alone_may_know_when_a_document_came(sample: Path) -> None:
    class Aging(Lines):
        def convert(self, document: Document, options: Options) -> Iterator[Item]:
            quality = 1 / document.received_at.timetuple().tm_yday
            for item in super().convert(document, options):
                yield replace(item, quality=quality) if isinstance(item, Record) else item

    assert broken(Aging(), [sample]) == {}


def test_a_converter_is_told_where_the_documents_were_found(sample: Path) -> None:
    told: set[tuple[str, str]] = set()
    sees = Does(lambda document, options: told.add((document.url, document.context.get("price", ""))))
    find_breaches(sees, [sample], None, DATASETS, url="https://example.org/7", context={"price": "100 €"})
    assert told == {("https://example.org/7", "100 €")}


def test_an_item_that_changes_after_it_was_yielded_is_found(sample: Path) -> None:
    class Reuses(Lines):
        def convert(self, document: Document, options: Options) -> Iterator[Item]:
            data: dict[str, Any] = {}
            for item in super().convert(document, options):
                if isinstance(item, Record):
                    data.update(item.data)
                    yield Record(item.dataset, item.key, data, item.position)
                else:
                    yield item

    assert list(broken(Reuses(), [sample])) == ["leaves alone"]


def test_empty_files_and_junk_must_be_refused(sample: Path) -> None:
    class TakesAnything(Lines):
        def convert(self, document: Document, options: Options) -> Iterator[Item]:
            yield Record("test.line", "all", {"text": "x", "n": 1}, Position(item=0))
            yield SUM

    assert list(broken(TakesAnything(), [sample])) == ["refuses"]


def test_a_document_cut_off_may_not_make_it_fail(sample: Path) -> None:
    class NeedsItsEnd(Lines):
        def convert(self, document: Document, options: Options) -> Iterator[Item]:
            yield from super().convert(document, options)
            document.content.seek(0)
            assert document.content.read().endswith(b"third\n")

    found = broken(NeedsItsEnd(), [sample])
    assert list(found) == ["never fails"]
    assert "cut off" in found["never fails"] or "damaged" in found["never fails"]


def test_the_assertion_lists_every_broken_rule(sample: Path) -> None:
    with pytest.raises(AssertionError, match="identity: api_version must be 1"):
        assert_conforms(changed(api_version=0), [sample], datasets=DATASETS)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This module's converter and dataset as an installed package."""
    site = tmp_path / "site"
    (site / "lines-1.dist-info").mkdir(parents=True)
    (site / "lines-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: lines\nVersion: 1\n")
    (site / "lines-1.dist-info/entry_points.txt").write_text(
        "[tidemill.converters]\nlines = plugin_lines:Lines\nbad = plugin_lines:BAD\n"
        "[tidemill.datasets]\ntest.line = plugin_lines:LINE\n"
    )
    (site / "plugin_lines.py").write_text("")
    monkeypatch.syspath_prepend(site)
    module = type(sys)("plugin_lines")
    vars(module).update(Lines=Lines, LINE=LINE, BAD=Does(give_no_reason))
    monkeypatch.setitem(sys.modules, "plugin_lines", module)


@pytest.mark.usefixtures("installed")
def test_the_command_prints_every_rule_and_whether_it_holds(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--converter", "lines", str(sample)]) == 0
    assert [line[:4] for line in capsys.readouterr().out.splitlines()] == ["ok  "] * len(RULES)
    another = sample.with_name("another.txt")
    another.write_bytes(sample.read_bytes())
    assert main(["--converter", "bad", "--options", '{"skip": 1}', str(sample), str(another)]) == 1
    output = capsys.readouterr().out
    assert "FAIL never fails" in output
    assert "and 5 more" in output


@pytest.mark.usefixtures("installed")
def test_a_converter_is_found_by_name_or_by_module() -> None:
    assert find_converter("lines").name == "lines"
    assert find_converter("plugin_lines:Lines").name == "lines"
    with pytest.raises(LookupError, match=r"installed: .*lines"):
        find_converter("rows")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--converter", "nobody", "x"],
        ["--converter", "json", "missing"],
        ["--converter", "json", "--options", "{", "x"],
    ],
)
def test_the_command_says_what_it_was_asked_wrongly(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert "conformance: " in capsys.readouterr().err
