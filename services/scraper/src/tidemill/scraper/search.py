"""Reads a search page: asks politely, keeps the bytes, finds what it lists and where it goes on."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from tidemill.common.archive import Archive
from tidemill.common.config.scraping import Scrape
from tidemill.common.config.sources import SourceFile
from tidemill.common.http import BadStatus, Usage, Validators
from tidemill.extract import PageRules, Position, SearchRules, Stop, all_seen
from tidemill.scraper import policy
from tidemill.scraper.fetch import Fetch
from tidemill.scraper.keeping import find_kept, keep
from tidemill.scraper.outcomes import Ended, Failed, Listed, Outcome, PageRow, Searched, SearchPage
from tidemill.scraper.reading import read_search

Found = tuple[Outcome, PageRow | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What reading one search page takes."""

    source: SourceFile
    scrape: Scrape
    rules: PageRules
    fetch: Fetch
    archive: Archive

    async def work(self, searched: Searched, usage: Usage) -> Found:
        """Raises FetchFailure, Held and Unavailable."""
        position, known = searched.position, searched.known
        kept = None if known is None else await find_kept(self.archive, known.sha256)
        validators = Validators(known.etag, known.last_modified) if known and kept is not None else None
        try:
            fetched = await self.fetch.page(
                self.source, position.url, usage, validators, known.size_bytes if known and validators else 0
            )
        except BadStatus as bad:
            return _refused(bad, self.scrape.search, position)
        if fetched is not None:
            sha256 = await keep(self.archive, fetched.content)
            page = PageRow(fetched.url, fetched.status, "ok", sha256, len(fetched.content))
            content_type = next((v for name, v in fetched.headers.items() if name.lower() == "content-type"), "")
            fresh = SearchPage(
                fetched.url, fetched.etag, fetched.last_modified, content_type, sha256, len(fetched.content)
            )
            return await self._read(fetched.content, position, page, fetched.headers, fresh)
        assert known is not None
        assert kept is not None
        page = PageRow(position.url, 304, "ok")
        return await self._read(kept, position, page, {"content-type": known.content_type}, known)

    async def _read(
        self, content: bytes, position: Position, page: PageRow, headers: Mapping[str, str], known: SearchPage
    ) -> Found:
        read = await asyncio.to_thread(
            read_search,
            content,
            self.scrape,
            self.rules,
            position,
            url=known.found_at,
            status=200 if page.status == 304 else page.status,
            headers=headers,
        )
        if read.judgement is not None:
            # It lists nothing and does not say so; what else it may be, the rules for pages know.
            state = "incomplete" if read.judgement.ok else read.judgement.state
            failure = "layout" if read.judgement.ok else policy.failure_of(read.judgement)
            detail = "; ".join(map(str, read.judgement.why))[:2000] or "no entries, and no sign that there are none"
            return Failed(failure, detail), _with(page, state, detail)
        if read.step.stop is Stop.RESULT_CAP and not read.step.links:
            # More was counted, so this may be a mood of the site; if it stays so, the search is not complete.
            detail = f"no entries after {position.seen} of {read.step.position.found}"
            return Failed("result_cap", detail), _with(page, "incomplete", detail)
        return Listed(read.step, read.entries, read.problems, known, position.url), page


def _with(page: PageRow, state: str, detail: str) -> PageRow:
    return PageRow(page.url, page.status, state, page.sha256, page.size_bytes, detail)


def _refused(bad: BadStatus, rules: SearchRules, position: Position) -> Found:
    row = PageRow(position.url, bad.status, "blocked" if bad.slug == "blocked" else "error", detail=bad.detail)
    counts = rules.paging is not None and rules.paging.next is None and rules.paging.cursor is None
    if counts and position.page and bad.status in policy.NOT_FOUND:
        # Where the address counts, some sites say so that there is no further page.
        complete = all_seen(rules, position.seen, position.found)
        return Ended(position, Stop.LAST_PAGE if complete else Stop.RESULT_CAP, complete), row
    failure = policy.NOT_FOUND.get(bad.status, bad.slug)
    return Failed(failure, bad.detail, bad.retry, bad.after), row
