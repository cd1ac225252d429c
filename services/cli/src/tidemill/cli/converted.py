"""What a conversion found, printed: one JSON document, lines of JSON, or a table."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidemill.cli import tables
from tidemill.plugin import Accounting, Document, Item, Outcome, Position, Progress, Record, Rejected

if TYPE_CHECKING:
    from tidemill.cli.convert import Conversion
    from tidemill.converter.workers import Ending, Part

ROWS_SHOWN = 50


async def print_json(conversion: Conversion) -> Outcome:
    """One document. A football offer by match; anything else as it comes, in constant memory."""
    if any(dataset.startswith("football.") for dataset in conversion.description.datasets):
        shaped, outcome = await _offer(conversion)
        print(json.dumps(shaped, ensure_ascii=False, indent=1))
        return outcome
    write = sys.stdout.write
    write('{"records": [')
    with tempfile.TemporaryFile("w+", encoding="utf-8") as rejected:
        between, between_rejected = "\n", "\n"
        async for part in conversion.parts:
            for record in part.records:
                write(between + _dump(_record(record)))
                between = ",\n"
            for row in part.rejected:
                rejected.write(between_rejected + _dump(_rejected(row)))
                between_rejected = ",\n"
        rejected.seek(0)
        write('\n],\n"rejected": [')
        while block := rejected.read(65536):
            write(block)
    ending = _ending(part)
    write(f'\n],\n"accounting": {_dump([_accounting(page) for page in ending.accounting])},\n')
    write(f'"document": {_dump(_document(conversion, part, ending))}}}\n')
    return ending.outcome


async def print_lines(conversion: Conversion) -> Outcome:
    """A line for each record and rejected row, then the accounting and the document; `type` tells which it is."""
    async for part in conversion.parts:
        for record in part.records:
            print(_dump({"type": "record", **_record(record)}))
        for row in part.rejected:
            print(_dump({"type": "rejected", **_rejected(row)}))
    ending = _ending(part)
    for page in ending.accounting:
        print(_dump({"type": "accounting", **_accounting(page)}))
    print(_dump({"type": "document", **_document(conversion, part, ending)}))
    return ending.outcome


async def print_table(conversion: Conversion) -> Outcome:
    """The first records of each dataset, and how it ended."""
    shown: dict[str, list[Record]] = {}
    counts: dict[str, int] = {}
    async for part in conversion.parts:
        for record in part.records:
            counts[record.dataset] = counts.get(record.dataset, 0) + 1
            if counts[record.dataset] <= ROWS_SHOWN:
                shown.setdefault(record.dataset, []).append(record)
    ending = _ending(part)
    for dataset, records in shown.items():
        print(f"{dataset}: {len(records)} of {counts[dataset]:,}\n")
        _print_records(dataset, records)
        print()
    seen = sum(page.seen for page in ending.accounting)
    rejected = ", ".join(f"{count} {reason}" for reason, count in ending.rejected.items()) or "none"
    print(f"{conversion.job.name}: {ending.outcome} {ending.reason}".rstrip())
    print(f"converter {conversion.name} {conversion.description.version}; {part.described.title}".rstrip("; "))
    print(f"rows {seen:,}, records {sum(counts.values()):,}, rejected: {rejected}")
    for warning in ending.warnings:
        print(f"warning: {warning}")
    print(f"{ending.cpu_seconds:.2f} s of CPU, {ending.peak_memory_bytes / 1e6:.0f} MB at most")
    return ending.outcome


def _print_records(name: str, records: Sequence[Record]) -> None:
    from tidemill.converter.datasets import find_datasets

    dataset = next((each for each in find_datasets() if each.name == name), None)
    printed = {f"{field}_name": named.raw for field, named in dataset.names.items()} if dataset else {}
    important = [printed.get(column, column) for column in dataset.summary] if dataset else []
    rows = [
        {"record_key" if "key" in record.data else "key": record.key, **record.data}
        | ({"parent": record.parent[1]} if record.parent else {})
        for record in records
    ]
    fields = dict.fromkeys(field for row in rows for field in row)
    filled = [field for field in fields if any(row.get(field) is not None for row in rows)]
    left_out = tables.print_table(
        [tables.Column(field, right=tables.are_numbers(row.get(field) for row in rows)) for field in filled],
        [[tables.cell(row.get(field)) for field in filled] for row in rows],
        important or [field for field in filled if field not in ("key", "record_key")],
    )
    if left_out:
        print(f"no room for: {', '.join(left_out)}; all of each: -o jsonl")


async def _offer(conversion: Conversion) -> tuple[dict[str, Any], Outcome]:
    from tidemill.football.document import offer_document
    from tidemill.football.teams import resolve_all

    items: list[Item] = []
    parts = [part async for part in conversion.parts]
    ending = _ending(parts[-1])
    items.append(parts[-1].described)
    for part in parts:
        items += part.records
        items += part.rejected
    items += ending.accounting
    items += (Progress(warning=warning) for warning in ending.warnings)
    shaped = offer_document(
        _plugin_document(conversion),
        items,
        converter=conversion.name,
        version=conversion.description.version,
        outcome=ending.outcome,
        reason=ending.reason,
    )
    matches = shaped["matches"]
    sides = [(match, side) for match in matches for side in ("home", "away")]
    for (match, side), team in zip(
        sides, resolve_all((match[side], match["league"]) for match, side in sides), strict=True
    ):
        match[f"{side}_team"] = {
            "id": team.entity,
            "name": team.name,
            "kind": team.kind,
            "confidence": team.confidence,
            "method": team.method,
        }
    return shaped, ending.outcome


def _plugin_document(conversion: Conversion) -> Document:
    import io

    job = conversion.job
    return Document(
        io.BytesIO(),
        job.sha256,
        job.size_bytes,
        job.name,
        job.received_at,
        job.source,
        url=job.url,
        context=job.context,
    )


def _ending(last: Part) -> Ending:
    assert last.ending is not None, "the last part of a conversion has the ending"
    return last.ending


def _document(conversion: Conversion, last: Part, ending: Ending) -> dict[str, Any]:
    described = last.described
    return {
        "sha256": conversion.job.sha256,
        "name": conversion.job.name,
        "pages": described.pages,
        "title": described.title,
        "valid_from": described.valid_from.isoformat() if described.valid_from else None,
        **described.attributes,
        "converter": conversion.name,
        "version": conversion.description.version,
        "outcome": ending.outcome,
        "reason": ending.reason,
        "warnings": list(ending.warnings),
    }


def _record(record: Record) -> dict[str, Any]:
    return {
        "dataset": record.dataset,
        "key": record.key,
        "data": record.data,
        "valid_from": record.valid_from.isoformat() if record.valid_from else None,
        "parent": record.parent,
        "raw": record.raw,
        "quality": record.quality,
        **_place(record.position),
    }


def _rejected(row: Rejected) -> dict[str, Any]:
    return {"reason": row.reason, "detail": row.detail, "raw": row.raw, **_place(row.position)}


def _accounting(page: Accounting) -> dict[str, Any]:
    return {
        "page": page.page,
        "seen": page.seen,
        "accepted": page.accepted,
        "rejected": page.rejected,
        "ignored": page.ignored,
    }


def _place(position: Position) -> Mapping[str, Any]:
    return {"page": position.page, "box": position.box, "item": position.item}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
