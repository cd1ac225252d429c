import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tidemill.cli.convert import convert
from tidemill.cli.main import app

TIDEMILL = Path(sys.executable).parent / "tidemill"
ROOT = Path(__file__).resolve().parents[3]
PLUGIN = '''
from tidemill.plugin import Accounting, Described, Outcome, Position, Record, Refusal, Rejected

class Notes:
    """A record per line, for files that begin with NOTES."""
    name, version, api_version, datasets = "notes", "3", 1, ("test.note",)

    def options_error(self, options):
        return None if set(options) <= {"until"} else "until is the only option"

    def convert(self, document, options):
        if not document.content.readline().startswith(b"NOTES"):
            raise Refusal(Outcome.WRONG_TYPE, "These are no notes.")
        yield Described(pages=1, title="Notes", attributes={"author": "me"})
        lines = document.content.read().decode().splitlines()
        for index, line in enumerate(lines):
            if line == "crash":
                raise RuntimeError("defect")
            if line == options.get("until"):
                raise Refusal(Outcome.INCOMPLETE, "The rest is missing.")
            if line:
                yield Record("test.note", line, {"text": line, "n": index, "none": None}, Position(page=1), raw=line)
            else:
                yield Rejected("blank", "nothing on it", "", Position(page=1))
        yield Accounting(1, len(lines), sum(map(bool, lines)), lines.count(""))
'''
POINTS = "[tidemill.converters]\nnotes = cli_notes:Notes\n"


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of somebody else's, with a converter."""
    site = tmp_path / "site"
    (site / "notes-1.dist-info").mkdir(parents=True)
    (site / "cli_notes.py").write_text(PLUGIN)
    (site / "notes-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: notes\nVersion: 1\n")
    (site / "notes-1.dist-info/entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["convert", *map(str, words)])
    return result.exit_code, result.output


def document(folder: Path, text: str, name: str = "notes.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def converted(*words: object) -> tuple[int, dict[str, Any]]:
    status, output = run(*words)
    return status, json.loads(output)


def test_a_document_is_printed_as_one_json_document_by_the_converter_that_recognises_it(folder: Path) -> None:
    path = document(folder, "NOTES\ntea\n\nmilk")
    status, found = converted(path)
    assert status == 0
    assert found["document"] == {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "name": "notes.txt",
        "pages": 1,
        "title": "Notes",
        "valid_from": None,
        "author": "me",
        "converter": "notes",
        "version": "3",
        "outcome": "converted",
        "reason": "",
        "warnings": [],
    }
    assert [(record["key"], record["data"]["n"], record["page"]) for record in found["records"]] == [
        ("tea", 0, 1),
        ("milk", 2, 1),
    ]
    assert [row["reason"] for row in found["rejected"]] == ["blank"]
    assert found["accounting"] == [{"page": 1, "seen": 3, "accepted": 2, "rejected": 1, "ignored": {}}]


def test_lines_have_a_record_each_and_the_document_last(folder: Path) -> None:
    status, output = run(document(folder, "NOTES\ntea\n\nmilk"), "-o", "jsonl")
    lines = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    assert [line["type"] for line in lines] == ["record", "record", "rejected", "accounting", "document"]


def test_a_table_is_for_people(folder: Path) -> None:
    status, output = run(document(folder, "NOTES\ntea\n\nmilk"), "-o", "table")
    assert status == 0
    assert "test.note: 2 of 2" in output
    assert "notes.txt: converted" in output
    assert "rejected: 1 blank" in output
    lines = output.splitlines()
    assert [line.split() for line in lines[2:4]] == [["key", "text", "n"], ["tea", "tea", "0"]]
    assert max(map(len, lines)) <= 80


def test_a_table_without_room_shows_what_the_dataset_says_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, output = run(ROOT / "examples/szerencsemix/sample.pdf", "-o", "table")
    assert status == 0
    lines = output.splitlines()
    assert lines[2].split() == ["date", "time", "league", "home", "away"]
    assert any(line.startswith("no room for: key, kickoff, ") for line in lines)
    assert max(map(len, lines)) <= 80


def test_json_is_recognised_by_its_content(folder: Path) -> None:
    status, found = converted(document(folder, '[{"id": 1}, {}]', "data"), "--option", "key=id")
    assert status == 0
    assert found["document"]["converter"] == "json"
    assert [record["key"] for record in found["records"]] == ["1"]
    assert [row["reason"] for row in found["rejected"]] == ["no_key"]


def test_options_are_read_as_json_where_they_are(folder: Path) -> None:
    path = document(folder, '{"a": [{"x": {"y": 5}}]}')
    status, found = converted(path, "--option", "items=a.item", "--option", 'fields={"n": "x.y"}')
    assert (status, found["records"][0]["data"]) == (0, {"n": 5})


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("", "empty"), ("nothing known", "wrong_type"), ('{"a": 1}', "unrecognised"), ('[{"a": ', "truncated")],
)
def test_a_refused_document_is_printed_with_its_outcome_and_status_2(folder: Path, text: str, outcome: str) -> None:
    status, found = converted(document(folder, text))
    assert (status, found["document"]["outcome"]) == (2, outcome)
    assert found["records"] == []
    assert found["document"]["reason"]


def test_an_incomplete_document_has_its_records_and_status_2(folder: Path) -> None:
    status, found = converted(document(folder, "NOTES\ntea\nstop"), "--option", "until=stop", "--converter", "notes")
    assert (status, found["document"]["outcome"], len(found["records"])) == (2, "incomplete", 1)


def test_a_crash_is_ours_and_has_status_1(folder: Path) -> None:
    status, found = converted(document(folder, "NOTES\ncrash"))
    assert (status, found["document"]["outcome"]) == (1, "crashed")
    assert "RuntimeError: defect" in found["document"]["reason"]


def test_limits_are_kept(folder: Path) -> None:
    status, found = converted(document(folder, "NOTES\ntea"), "--pages", 1)
    assert status == 0
    status, found = converted(document(folder, "NOTES\n" + "tea\n" * 200_000), "--memory", "1MB")
    assert (status, found["document"]["outcome"]) == (2, "resource_limit")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["missing.txt"], "missing.txt cannot be read: No such file"),
        (["/dev/zero"], "/dev/zero is a device"),
        (["https://example.org/a.pdf"], "is an address: download the file first"),
        (["{file}", "--memory", "3"], "'3' is not an amount of bytes"),
        (["{file}", "--time", "soon"], "'soon' is not a length of time"),
        (["{file}", "--converter", "pdf"], "converter 'pdf' is not installed; installed: json, listings, notes, pages"),
        (["{file}", "--option", "x"], "--option x: write KEY=VALUE"),
        (["{file}", "--option", "x=1", "--converter", "notes"], "options of notes: until is the only option"),
        (["{file}", "--option", "x=1"], "options of notes: until is the only option"),
    ],
)
def test_what_was_asked_wrongly_is_said_in_a_sentence_with_status_1(
    folder: Path, words: list[str], sentence: str
) -> None:
    path = document(folder, "NOTES\n")
    status, output = run(*(word.format(file=path) for word in words))
    assert status == 1
    assert sentence in output


@pytest.mark.slow
def test_a_betting_offer_is_printed_by_match_with_its_teams(shared_data: Path) -> None:
    status, found = converted(shared_data / "football/dev/Web__57sz__P__07-18.A2.pdf")
    assert status == 0
    assert found["document"]["outcome"] == "converted"
    assert len(found["matches"]) == 340
    match = found["matches"][0]
    assert {"date", "time", "kickoff", "league", "home", "away", "home_team", "away_team", "markets"} <= set(match)
    assert {"id", "name", "kind", "confidence", "method"} == set(match["home_team"])
    assert {"key", "period", "side", "param", "market_text", "serial", "kim", "odds", "cols", "page", "box"} <= set(
        match["markets"][0]
    )
    assert all(page["seen"] >= page["accepted"] for page in found["accounting"])


EXPECTED = {
    "encrypted_user_password": "encrypted",
    "truncated_60pct": "incomplete",
    "zero_bytes": "empty",
    "html_named": "wrong_type",
    "scanned_image_only": "scanned",
    "pages_400": "too_large",
    "huge_page_size": "too_large",
    "bomb_flate_256mb": "resource_limit",
    "bomb_double_flate_256mb": "resource_limit",
    "page_tree_loop": "unreadable",
    "no_tounicode": "unreadable",
    "two_issues_concatenated": "ambiguous",
    "other_valid_pdf": "unrecognised",
}
WHOLE = 619
"""Matches of the issue that the other bad files were made from."""


@pytest.mark.slow
@pytest.mark.unmeasured
def test_every_bad_file_has_the_outcome_that_tells_what_is_wrong_with_it(shared_data: Path) -> None:
    files = sorted((shared_data / "football/bad").glob("*.pdf"))
    assert len(files) == 19
    for path in files:
        status, found = converted(path)
        expected = EXPECTED.get(path.stem, "converted")
        assert (path.name, found["document"]["outcome"]) == (path.name, expected)
        assert status == (0 if expected == "converted" else 2), path.name
        if expected == "converted":
            assert len(found["matches"]) == WHOLE, path.name


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_what_is_piped_in_is_converted(name: str) -> None:
    command = [TIDEMILL, "convert", name, "--converter", "notes"]
    done = subprocess.run(command, input=b"NOTES\ntea", capture_output=True, check=True)
    found = json.loads(done.stdout)["document"]
    assert (found["name"], found["outcome"]) == ("stdin", "converted")
    assert found["sha256"] == hashlib.sha256(b"NOTES\ntea").hexdigest()


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_file_that_is_standard_input_is_converted(folder: Path, name: str) -> None:
    command = [TIDEMILL, "convert", name, "--converter", "notes"]
    with document(folder, "NOTES\ntea").open("rb") as notes:
        done = subprocess.run(command, stdin=notes, capture_output=True, check=True, timeout=30)
    assert json.loads(done.stdout)["document"]["sha256"] == hashlib.sha256(b"NOTES\ntea").hexdigest()


@pytest.mark.skipif(sys.platform == "darwin", reason="takes no name that is not UTF-8")
def test_a_file_whose_name_is_not_utf8_is_converted_and_its_name_shown_with_the_bytes(folder: Path) -> None:
    status, found = converted(document(folder, "NOTES\ntea", os.fsdecode(b"\xe9.txt")), "--converter", "notes")
    assert (status, found["document"]["name"]) == (0, "\\xe9.txt")


def test_a_reader_that_has_seen_enough_is_no_failure_to_talk_about(folder: Path) -> None:
    path = document(folder, "[" + ",".join('{"text": "%s"}' % ("x" * 1000) for _ in range(500)) + "]")
    with subprocess.Popen(
        [TIDEMILL, "convert", path, "-o", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_help_says_what_the_status_means() -> None:
    status, output = run("--help")
    assert status == 0
    assert "Exit status" in output
    assert convert.__doc__


def test_a_page_is_converted_as_if_it_had_been_found_at_an_address(folder: Path) -> None:
    rules = json.dumps({"fields": {"price": {"from": {"css": "b"}, "type": "money"}, "city": {"from": {"css": "i"}}}})
    page = document(folder, "<b>295 000 €</b><i>Vaduz</i>", "page.html")
    options = ("--option", f"extract={rules}", "--option", "price_kind=sale", "--option", "portal=demo")
    status, found = converted(page, "--converter", "listings", "--url", "https://example.org/home/7", *options)
    assert status == 0
    [record] = found["records"]
    assert (record["key"], record["data"]["price"], record["data"]["city"]) == ("demo/7", 295000.0, "Vaduz")
