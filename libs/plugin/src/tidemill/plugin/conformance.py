"""Checks that anybody can run on a converter: `python -m tidemill.plugin.conformance --converter NAME FILE…`.

In a test suite: `assert_conforms(MyConverter(), [Path("sample.pdf")])`. Documents should be real ones; what is broken
or empty is added here.
"""

import argparse
import copy
import io
import json
import math
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tidemill.plugin.conversion import (
    API_VERSION,
    Accounting,
    Converter,
    Described,
    Document,
    Item,
    Options,
    Outcome,
    Progress,
    Record,
    Refusal,
    Rejected,
)
from tidemill.plugin.dataset import Dataset
from tidemill.plugin.report_conformance import find_report_breaches

RULES: Mapping[str, str] = {
    "identity": "has a name in lower case, a version, and the version of this interface",
    "options": "finds these options right, and says a sentence about wrong ones",
    "items": "yields items of this interface and nothing else",
    "described": "describes the document at most once, before the first record, with time zone",
    "datasets": "yields records of the datasets it declares, which are installed",
    "keys": "gives every record a key of 1 to 800 bytes, and one key two contents only where the dataset says how",
    "data": "gives JSON values that fit the dataset's model",
    "facts": "gives times with zone, quality from 0 to 1, and parents that came before",
    "positions": "says where in the document a value stands, within its pages",
    "accounting": "accounts for all rows: seen = accepted + rejected + ignored, and every rejected row is shown",
    "same again": "gives the same items again, also under another name, at another time (but for their quality, which "
    "may know how old they are) and after other documents",
    "leaves alone": "changes neither options nor items that it has yielded",
    "keeps to itself": "uses no network, starts no process, writes no file",
    "refuses": "refuses what is empty or no document at all, without a record",
    "never fails": "raises nothing but Refusal, with a reason, also for documents that were cut off or damaged",
    "reports": "names datasets whose reports are made of what their views have, see `report_conformance`",
}

KEY_BYTES = 800
URL = "https://example.org/page/1"
RECEIVED = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
JUNK: Mapping[str, bytes] = {
    "no bytes": b"",
    "a zero byte": b"\x00",
    "an HTML page": b"<!doctype html><html><body><h1>404 Not Found</h1></body></html>",
    "random bytes": b"".join(sha256(bytes([n])).digest() for n in range(64)),
}
CUTS = (0.1, 0.5, 0.9, 0.999)


@dataclass(frozen=True, slots=True)
class Given:
    """What the converter is told besides the bytes."""

    options: Options
    url: str
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a converter breaks."""

    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


@dataclass(slots=True)
class Run:
    """What one conversion came to."""

    items: list[Item] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    """Each item as it was when it was yielded."""
    refusal: Refusal | None = None
    failure: str = ""

    @property
    def records(self) -> list[Record]:
        return [item for item in self.items if isinstance(item, Record)]

    @property
    def result(self) -> tuple[object, ...]:
        return (*self.frozen, *self._ending)

    @property
    def timeless(self) -> tuple[object, ...]:
        """Without what may depend on when the document came."""
        items = [replace(item, quality=1.0) if isinstance(item, Record) else item for item in self.items]
        return (*map(_freeze, items), *self._ending)

    @property
    def _ending(self) -> tuple[object, ...]:
        refusal = self.refusal
        return (None if refusal is None else (refusal.outcome, refusal.reason), self.failure)


def assert_conforms(
    converter: Converter,
    files: Iterable[Path],
    options: Options | None = None,
    datasets: Mapping[str, Dataset] | None = None,
    *,
    url: str = URL,
    context: Mapping[str, str] | None = None,
) -> None:
    """For a test suite: an AssertionError lists every rule that is broken. `datasets` are the installed ones unless
    given; `url` and `context` are what is known of all the documents."""
    findings = find_breaches(converter, files, options, datasets, url=url, context=context)
    if findings:
        raise AssertionError("\n".join(map(str, findings)))


def find_breaches(
    converter: Converter,
    files: Iterable[Path],
    options: Options | None = None,
    datasets: Mapping[str, Dataset] | None = None,
    *,
    url: str = URL,
    context: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Every rule that a converter breaks, with what showed it; some documents are needed to see most of them."""
    installed = find_datasets() if datasets is None else datasets
    chosen = Given({} if options is None else options, url, context or {})
    findings = [
        *_check_identity(converter),
        *_check_options(converter, chosen.options),
        *_check_reports(converter, installed),
    ]
    if findings:
        return findings
    contents = {path.name: path.read_bytes() for path in files}
    runs = {}
    for name, content in contents.items():
        runs[name] = run = _convert(converter, content, chosen, findings, name=name)
        findings += _check_failure(run, name)
        findings += _check_items(converter, run, installed, name)
    for name, content in contents.items():
        findings += _check_repetition(converter, content, chosen, runs[name], name)
        for share in CUTS:
            cut = _convert(converter, content[: int(len(content) * share)], chosen, findings)
            findings += _check_failure(cut, f"{name} cut off at {share:.1%}")
        for number in range(3):
            damaged = _convert(converter, _damage(content, number), chosen, findings)
            findings += _check_failure(damaged, f"{name} damaged")
    for what, content in JUNK.items():
        run = _convert(converter, content, chosen, findings)
        findings += _check_failure(run, what)
        if run.records or not (run.refusal or content):
            findings.append(Finding("refuses", f"{what}: {len(run.records)} records, no refusal"))
    return list(dict.fromkeys(findings))


def find_datasets() -> dict[str, Dataset]:
    """The installed ones, by name."""
    return {point.name: point.load() for point in entry_points(group="tidemill.datasets")}


def _check_identity(converter: Converter) -> Iterator[Finding]:
    name, version = getattr(converter, "name", None), getattr(converter, "version", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        yield Finding("identity", f"the name is {name!r}; write lower case letters, digits and dashes")
    if not isinstance(version, str) or not version:
        yield Finding("identity", f"the version is {version!r}; it must be a text that is not empty")
    if getattr(converter, "api_version", None) != API_VERSION:
        yield Finding("identity", f"api_version must be {API_VERSION}")
    datasets = getattr(converter, "datasets", None)
    if not isinstance(datasets, tuple) or not datasets:
        yield Finding("identity", f"datasets is {datasets!r}; name those of the records, or ('*',)")


def _check_options(converter: Converter, options: Options) -> Iterator[Finding]:
    error = converter.options_error(options)
    if error is not None:
        yield Finding("options", f"{dict(options)} is refused: {error}")
    error = converter.options_error({**options, "no such option": 1})
    if not isinstance(error, str) or not error:
        yield Finding("options", f"an unknown option is answered with {error!r}; say which are valid")


def _check_reports(converter: Converter, installed: Mapping[str, Dataset]) -> Iterator[Finding]:
    for name in converter.datasets:
        if name in installed:
            yield from (Finding("reports", f"{name}: {breach}") for breach in find_report_breaches(installed[name]))


def _check_failure(run: Run, what: str) -> Iterator[Finding]:
    if run.failure:
        yield Finding("never fails", f"{what}: {run.failure}")
    if run.refusal is not None and (
        not isinstance(run.refusal.outcome, Outcome)
        or run.refusal.outcome in (Outcome.CONVERTED, Outcome.CRASHED)
        or not run.refusal.reason
    ):
        yield Finding("never fails", f"{what}: refused as {run.refusal.outcome} with the reason {run.refusal.reason!r}")


def _check_items(converter: Converter, run: Run, installed: Mapping[str, Dataset], name: str) -> Iterator[Finding]:
    described = [(n, item) for n, item in enumerate(run.items) if isinstance(item, Described)]
    first_record = next((n for n, item in enumerate(run.items) if isinstance(item, Record)), len(run.items))
    if len(described) > 1 or any(n > first_record for n, _ in described):
        yield Finding("described", f"{name}: described {len(described)} times, or after the first record")
    about = described[0][1] if described else Described()
    if about.valid_from is not None and about.valid_from.tzinfo is None:
        yield Finding("described", f"{name}: valid_from {about.valid_from} has no time zone")
    seen: dict[tuple[str, str], str] = {}
    for item in run.items:
        if isinstance(item, Record):
            yield from _check_record(converter, item, installed, seen, name)
        if isinstance(item, (Record, Rejected)):
            yield from _check_position(item, about.pages, name)
        if not isinstance(item, (Record, Rejected, Accounting, Described, Progress)):
            yield Finding("items", f"{name}: {type(item).__name__} is no item")
        if isinstance(item, Rejected) and not item.reason:
            yield Finding("accounting", f"{name}: a row is rejected without a reason")
    yield from _check_accounting(run, name)


def _check_record(
    converter: Converter,
    record: Record,
    installed: Mapping[str, Dataset],
    seen: dict[tuple[str, str], str],
    name: str,
) -> Iterator[Finding]:
    where = f"{name}, {record.dataset} {record.key!r}"
    if converter.datasets != ("*",) and record.dataset not in converter.datasets:
        yield Finding("datasets", f"{where}: declared are {', '.join(converter.datasets)}")
    dataset = installed.get(record.dataset)
    if dataset is None:
        yield Finding("datasets", f"{where}: not installed")
    if not record.key or len(record.key.encode(errors="replace")) > KEY_BYTES:
        yield Finding("keys", f"{where}: a key has 1 to {KEY_BYTES} bytes")
    wrong = no_json(record.data)
    if wrong:
        yield Finding("data", f"{where}: {wrong}")
    elif dataset is not None:
        try:
            dataset.model.model_validate(record.data)
        except ValueError as error:
            yield Finding("data", f"{where}: {error}")
    content = _freeze(record.data)
    identity = (record.dataset, f"{record.parent}/{record.key}")
    if seen.setdefault(identity, content) != content and dataset is not None and dataset.same_fact is None:
        yield Finding("keys", f"{where}: comes twice, with other data")
    seen.setdefault((record.dataset, record.key), content)
    if record.parent is not None and record.parent not in seen:
        yield Finding("facts", f"{where}: its parent {record.parent} did not come before it")
    if record.valid_from is not None and record.valid_from.tzinfo is None:
        yield Finding("facts", f"{where}: valid_from {record.valid_from} has no time zone")
    if not 0 <= record.quality <= 1:
        yield Finding("facts", f"{where}: quality is {record.quality}")


def _check_position(item: Record | Rejected, pages: int | None, name: str) -> Iterator[Finding]:
    place = item.position
    if place.page is None and place.item is None:
        yield Finding("positions", f"{name}: {item.raw[:40]!r} has neither page nor item")
    if place.page is not None and not 1 <= place.page <= (math.inf if pages is None else pages):
        yield Finding("positions", f"{name}: page {place.page} of {pages}")
    if place.item is not None and place.item < 0:
        yield Finding("positions", f"{name}: item {place.item}")
    if place.box is not None:
        left, top, right, bottom = place.box
        if not (all(map(math.isfinite, place.box)) and left <= right and top <= bottom):
            yield Finding("positions", f"{name}: box {place.box} is not left, top, right, bottom")


def _check_accounting(run: Run, name: str) -> Iterator[Finding]:
    accounts = [item for item in run.items if isinstance(item, Accounting)]
    rejected = sum(isinstance(item, Rejected) for item in run.items)
    for account in accounts:
        counts = (account.seen, account.accepted, account.rejected, *account.ignored.values())
        if not account.balanced() or min(counts) < 0:
            yield Finding("accounting", f"{name}: {account} does not add up")
    twice = [page for page, count in Counter(account.page for account in accounts).items() if count > 1]
    if twice:
        yield Finding("accounting", f"{name}: page {twice[0]} is accounted for twice")
    counted = sum(account.rejected for account in accounts)
    if counted != rejected:
        yield Finding("accounting", f"{name}: {counted} rows are counted as rejected, {rejected} are shown")
    if bool(run.records) != any(account.accepted for account in accounts):
        yield Finding("accounting", f"{name}: {len(run.records)} records, but the accounts say otherwise")


def _check_repetition(converter: Converter, content: bytes, given: Given, first: Run, name: str) -> Iterator[Finding]:
    ignored: list[Finding] = []
    again = _convert(converter, content, given, ignored, name=name)
    fresh = _convert(copy.copy(converter), content, given, ignored, name=name)
    if not first.result == again.result == fresh.result:
        other = again if again.result != first.result else fresh
        yield Finding("same again", f"{name}: {_difference(first.result, other.result)}")
    elsewhere = _convert(converter, content, given, ignored, name="other.bin", received=RECEIVED + timedelta(days=99))
    if elsewhere.timeless != first.timeless:
        yield Finding(
            "same again", f"{name}, as other.bin 99 days later: {_difference(first.timeless, elsewhere.timeless)}"
        )


def _difference(one: Sequence[object], other: Sequence[object]) -> str:
    changed = next((f"{a!s:.200} became {b!s:.200}" for a, b in zip(one, other, strict=False) if a != b), None)
    return changed or f"{len(one) - 2} items became {len(other) - 2}"


def _convert(
    converter: Converter,
    content: bytes,
    given: Given,
    findings: list[Finding],
    *,
    name: str = "document",
    received: datetime = RECEIVED,
) -> Run:
    """One conversion, with an eye on what it does besides."""
    run = Run()
    options = given.options
    before = copy.deepcopy(dict(options))
    document = Document(
        io.BytesIO(content),
        sha256(content).hexdigest(),
        len(content),
        name,
        received,
        "conformance",
        url=given.url,
        context=given.context,
    )
    with _watched() as events:
        try:
            for item in converter.convert(document, options):
                run.items.append(item)
                run.frozen.append(_freeze(item))
        except Refusal as refusal:
            run.refusal = refusal
        except Exception as error:  # noqa: BLE001 - that is the point
            last = traceback.extract_tb(error.__traceback__)[-1]
            run.failure = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    findings += [Finding("keeps to itself", event) for event in events]
    if dict(options) != before:
        findings.append(Finding("leaves alone", f"{name}: the options were {before}"))
    if [_freeze(item) for item in run.items] != run.frozen:
        findings.append(Finding("leaves alone", f"{name}: an item changed after it was yielded"))
    return run


def _freeze(item: object) -> str:
    return repr(item)


def no_json(value: object) -> str | None:
    """Why a value is not made of JSON values."""
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a JSON number"
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            return "a key is not a text"
        return next((wrong for inner in value.values() if (wrong := no_json(inner))), None)
    if isinstance(value, (list, tuple)):
        return next((wrong for inner in value if (wrong := no_json(inner))), None)
    return f"{value!r} ({type(value).__name__}) is not a JSON value"


def _damage(content: bytes, number: int) -> bytes:
    """The same with every thousandth byte another, in one of three ways."""
    damaged = bytearray(content)
    for place in range(number * 333, len(damaged), 1000):
        damaged[place] ^= 1 << number
    return bytes(damaged)


OUTWARD = re.compile(
    r"socket\.(connect|bind|sendto|getaddrinfo|gethostbyname)|subprocess\.Popen|os\.(system|exec|fork|posix_spawn)"
)

_events: list[str] | None = None
_hooked = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _events is None:
        return
    if OUTWARD.fullmatch(event):
        _events.append(event)
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        _events.append(f"opened {arguments[0]!s:.80} for writing")


@contextmanager
def _watched() -> Iterator[list[str]]:
    """What the interpreter reports as done to the outside. An audit hook cannot be taken away, only silenced."""
    global _events, _hooked  # noqa: PLW0603 - there is one interpreter to watch
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    events: list[str] = []
    _events = events
    try:
        yield events
    finally:
        _events = None


def find_converter(name: str) -> Converter:
    """An installed converter by name, or any by `module:attribute`."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        found = getattr(import_module(module), attribute)
    else:
        points = {point.name: point for point in entry_points(group="tidemill.converters")}
        if name not in points:
            raise LookupError(f"converter {name!r} is not installed; installed: {', '.join(sorted(points)) or 'none'}")
        found = points[name].load()
    converter: Converter = found() if isinstance(found, type) else found
    return converter


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every rule and whether it holds; the exit status is 1 if one does not."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.plugin.conformance", description=__doc__)
    parser.add_argument("--converter", required=True, metavar="NAME", help="installed name, or module:attribute")
    parser.add_argument("--options", default="{}", help='options as JSON, for instance \'{"items": "matches.item"}\'')
    parser.add_argument("--url", default=URL, help="where on the web the documents were found")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="documents that it converts")
    given = parser.parse_args(arguments)
    try:
        findings = find_breaches(find_converter(given.converter), given.files, json.loads(given.options), url=given.url)
    except (LookupError, OSError, ValueError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1
    for rule, meaning in RULES.items():
        broken = [finding for finding in findings if finding.rule == rule]
        print(f"{'FAIL' if broken else 'ok  '} {rule}: {meaning}")
        for finding in broken[:5]:
            print(f"     {finding.detail}")
        if len(broken) > 5:
            print(f"     and {len(broken) - 5} more")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
