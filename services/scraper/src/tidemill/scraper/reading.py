"""Pure, and slow enough for a thread: what pages of targets and of searches say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from tidemill.common.config.scraping import Scrape
from tidemill.extract import (
    InvalidUrl,
    Judgement,
    Page,
    PageRules,
    Position,
    Step,
    Stop,
    advance,
    canonical,
    extract,
    extract_items,
    judge,
)
from tidemill.scraper import policy
from tidemill.scraper.outcomes import Entry


@dataclass(frozen=True, slots=True)
class Read:
    """A target's page."""

    judgement: Judgement
    content_hash: str
    fields: Sequence[str]
    """Those with a value."""


@dataclass(frozen=True, slots=True)
class ReadSearch:
    """A page of a search."""

    step: Step
    entries: Sequence[Entry]
    problems: Sequence[str]
    judgement: Judgement | None
    """Of a page without entries that should have some."""


def read_target(
    content: bytes,
    rules: PageRules,
    *,
    url: str,
    status: int = 200,
    headers: Mapping[str, str],
    context: Mapping[str, str],
) -> Read:
    page = Page.of_bytes(content, url=url, status=status, headers=headers, context=context)
    records = extract_items(page, rules) or [extract(page, rules)]
    chosen = next((record for record in records if not record.missing), records[0])
    hashes = [record.content_hash for record in records]
    together = hashes[0] if len(hashes) == 1 else sha256("\n".join(hashes).encode()).hexdigest()
    fields = sorted({name for record in records for name in record.values})
    return Read(judge(page, rules, chosen), together, fields)


def read_search(
    content: bytes,
    scrape: Scrape,
    rules: PageRules,
    position: Position,
    *,
    url: str,
    status: int = 200,
    headers: Mapping[str, str],
) -> ReadSearch:
    page = Page.of_bytes(content, url=url, status=status, headers=headers)
    step = advance(scrape.search, position, page)
    problems = list(step.problems)
    entries: dict[str, Entry] = {}
    for link in step.links:
        try:
            identity = canonical(link.url, scrape.urls)
        except InvalidUrl as invalid:
            problems.append(f"link: {invalid}")
            continue
        item = policy.item_of(identity)
        name = policy.page_name(identity)
        entries[item] = Entry(item, identity, link.url, name, link.key, link.hint, dict(link.carried))
    judgement = judge(page, rules, extract(page, rules)) if step.stop is Stop.NO_ENTRIES else None
    return ReadSearch(step, sorted(entries.values(), key=lambda entry: entry.item), problems, judgement)
