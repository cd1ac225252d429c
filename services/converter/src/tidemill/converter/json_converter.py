"""JSON documents and JSON lines of any size to records, as the source file's options say."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import orjson

from tidemill.converter import json_items
from tidemill.converter.frames import storable
from tidemill.converter.json_options import Plan, Unfit, look_up, make_plan
from tidemill.plugin.conversion import (
    API_VERSION,
    Accounting,
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

GENERIC = "json.item"
"""The dataset for items without a model; see tidemill.converter.item."""

RECORD_BYTES = 1_000_000
PROGRESS_ITEMS = 1_000


class JsonConverter:
    """Every item at a path, or every line, is a record of one dataset, or a rejected row with the reason.

    Where a member comes twice in an object the last one holds, as everywhere in Python; `duplicate_keys: reject`
    rejects such an item. Numbers with a fraction become floats of 64 bits, unless a field asks for a string.
    """

    name: ClassVar[str] = "json"
    version: ClassVar[str] = "1"
    api_version: ClassVar[int] = API_VERSION
    datasets: ClassVar[tuple[str, ...]] = ("*",)

    def options_error(self, options: Options) -> str | None:
        try:
            make_plan(options, find_datasets, GENERIC)
        except ValueError as error:
            return str(error)
        return None

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        plan = make_plan(options, find_datasets, GENERIC)
        content = document.content
        json_items.check_start(content)
        start = content.tell()
        yield from _describe(plan, content)
        content.seek(start)

        make = _Maker(plan, document.source)
        ignored: dict[str, int] = {}
        accepted = rejected = 0
        broken: Refusal | None = None
        try:
            for index, item in enumerate(_find_items(plan, options, content)):
                if item is json_items.BLANK_LINE:
                    ignored["blank"] = ignored.get("blank", 0) + 1
                    continue
                try:
                    record = make.record(item, index)
                except Unfit as unfit:
                    rejected += 1
                    yield Rejected(unfit.reason, unfit.detail, _raw(item), Position(item=index))
                else:
                    accepted += 1
                    yield record
                if index % PROGRESS_ITEMS == PROGRESS_ITEMS - 1:
                    yield Progress(content.tell(), document.size_bytes)
        except Refusal as refusal:
            broken = refusal
        yield Accounting(None, accepted + rejected + sum(ignored.values()), accepted, rejected, ignored)

        if broken is not None and accepted + rejected:
            raise Refusal(Outcome.INCOMPLETE, f"{broken.reason} Items before: {accepted + rejected:,}.")
        if broken is not None:
            raise broken
        if not accepted + rejected:
            content.seek(start)
            absence = json_items.absence(plan.items, content)
            if absence is not None:
                raise Refusal(Outcome.UNRECOGNISED, absence)


def _describe(plan: Plan, content: Any) -> Iterator[Item]:
    if plan.document_valid_from is None:
        yield Described()
        return
    path = ".".join(plan.document_valid_from.path)
    said = json_items.first_value(path, plan.items, content)
    try:
        yield Described(None if said is None else plan.document_valid_from.read(said))
    except Unfit as unfit:
        yield Described()
        yield Progress(warning=f"The document's own time is not known: {unfit.detail}")
    if said is None:
        yield Progress(warning=f"The document's own time is not known: no {path} before its items")


def _find_items(plan: Plan, options: Options, content: Any) -> Iterator[Any]:
    guessed = plan.format or ("json" if "items" in options else json_items.guess_format(content))
    if guessed == "jsonl":
        return json_items.lines(content, plan.refuse_duplicates)
    return json_items.items_at(plan.items, content, plan.refuse_duplicates)


class _Maker:
    """Makes the record of an item."""

    def __init__(self, plan: Plan, source: str) -> None:
        self._plan = plan
        self._model = None if plan.dataset == GENERIC else find_datasets()[plan.dataset].load().model
        # Sources share the generic dataset, and one's number 7 is not the other's.
        self._prefix = f"{source}/" if source and plan.dataset == GENERIC else ""

    def record(self, item: Any, index: int) -> Record:
        """Raises Unfit."""
        plan = self._plan
        if isinstance(item, Unfit):
            raise item
        if plan.refuse_duplicates and (twice := json_items.find_duplicate(item)) is not None:
            raise Unfit("duplicate_key", f"{twice!r} comes twice")
        key = "/".join([key_text(look_up(item, path), ".".join(path)) for path in plan.key])
        valid_from = None
        if plan.valid_from is not None and (said := look_up(item, plan.valid_from.path)) is not None:
            valid_from = plan.valid_from.read(said)
        if plan.fields:
            data = {field.name: field.value_in(item) for field in plan.fields}
        else:
            data = item if isinstance(item, dict) else {"value": item}
        # Whether a record can hold it, as orjson finds: nothing is faster, or stricter.
        try:
            size_bytes = len(orjson.dumps(data))
        except TypeError as error:
            _check_odd(error)
            data, size_bytes = _mended(data)
        if size_bytes > RECORD_BYTES:
            raise Unfit("too_large", f"the item has {size_bytes:,} bytes; the limit is {RECORD_BYTES:,}")
        if self._model is not None:
            data = fit(self._model, data)
        if not plan.key:
            key = sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
        return Record(plan.dataset, self._prefix + key, data, Position(item=index), valid_from)


def key_text(value: Any, name: str) -> str:
    """A part of a key. Raises Unfit."""
    if value is None or value == "" or isinstance(value, (dict, list)):
        raise Unfit("no_key", f"there is no {name}")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace("%", "%25").replace("/", "%2F") if "%" in text or "/" in text else text


def _check_odd(error: TypeError) -> None:
    said = str(error)
    if "Recursion" in said:
        raise Unfit("too_deep", "the item is nested too deeply")
    if "Integer" in said:
        raise Unfit("invalid", "a whole number has more than 64 bits; a field of type string can hold it")
    # Else half of a surrogate pair.


def _mended(data: Any) -> tuple[Any, int]:
    """With U+FFFD for halves of surrogate pairs, which no text in UTF-8 can hold; and its size. Raises Unfit."""
    try:
        data = storable(data)
        return data, len(orjson.dumps(data))
    except (TypeError, RecursionError):
        raise Unfit("too_deep", "the item is nested too deeply") from None


def fit(model: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as the dataset's model writes it. Raises Unfit."""
    try:
        fitted: dict[str, Any] = model.model_validate(data).model_dump(mode="json", exclude_unset=True)
    except ValueError as error:  # pydantic's, which only a worker with a model imports
        first = error.errors()[0]  # type: ignore[attr-defined]
        where = ".".join(map(str, first["loc"])) or "the item"
        raise Unfit("invalid", f"{where}: {first['msg']}") from None
    return fitted


def _raw(item: Any) -> str:
    """The item as JSON, cut, for people."""
    if isinstance(item, Unfit):
        return item.raw
    try:
        return orjson.dumps(item, default=str)[: json_items.RAW_CHARACTERS].decode(errors="ignore")
    except TypeError:
        return ""


def find_datasets() -> Mapping[str, EntryPoint]:
    """Those installed, by name."""
    return {point.name: point for point in sorted(entry_points(group="tidemill.datasets"))}
