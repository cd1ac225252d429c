"""Looks at a target: asks politely, keeps the bytes, judges what they say."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from tidemill.common.archive import Archive
from tidemill.common.config.scraping import Scrape
from tidemill.common.config.sources import SourceFile
from tidemill.common.http import BadStatus, RobotsDisallow, Usage, Validators
from tidemill.extract import InvalidUrl, PageRules, canonical
from tidemill.extract.documents import CONTENT_TYPE
from tidemill.scraper import policy
from tidemill.scraper.fetch import Fetch, Fetched
from tidemill.scraper.keeping import find_kept, keep
from tidemill.scraper.outcomes import Claimed, Content, Duplicate, Failed, Gone, Outcome, PageRow, Present, Unmodified
from tidemill.scraper.reading import Read, read_target

Visited = tuple[Outcome, PageRow | None]
IsTarget = Callable[[str, str], Awaitable[bool]]
"""Whether a source has a target (by item) that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What looking at one target takes."""

    source: SourceFile
    scrape: Scrape
    rules: PageRules
    rules_version: str
    fetch: Fetch
    archive: Archive
    is_target: IsTarget

    async def work(self, claimed: Claimed, target: Present, usage: Usage) -> Visited:
        """Raises FetchFailure, Held and Unavailable."""
        missing = claimed.decision == "missing"
        known = Validators(target.etag, target.last_modified) if target.content_hash and not target.is_gone else None
        try:
            fetched = await self.fetch.page(self.source, claimed.url, usage, known, target.size_bytes if known else 0)
        except RobotsDisallow as disallowed:
            if not missing:
                raise
            # Its own page may not be asked, so not to be listed is all that will ever be known.
            return Gone("unlisted", disallowed.detail), None
        except BadStatus as bad:
            return _refused(bad, claimed.url, missing=missing)
        if fetched is None:
            return await self._unmodified(claimed, target)
        return await self._judge(fetched, target, missing=missing)

    async def _unmodified(self, claimed: Claimed, target: Present) -> Visited:
        """The bytes are those we have: by other rules, or where everything is asked for, they are read once more."""
        kept = None
        if target.sha256 and (claimed.everything or target.rules != self.rules_version):
            kept = await find_kept(self.archive, target.sha256)
        if kept is None:
            return Unmodified(), PageRow(claimed.url, 304, "ok", content_hash=target.content_hash)
        headers = {CONTENT_TYPE: target.content_type}
        again = Fetched(claimed.url, 200, headers, kept, target.etag, target.last_modified, ())
        outcome, page = await self._judge(again, target, missing=claimed.decision == "missing")
        if isinstance(outcome, Content):
            outcome = replace(outcome, same=True)
        return outcome, page and replace(page, status=304)

    async def _judge(self, fetched: Fetched, target: Present, *, missing: bool) -> Visited:
        sha256 = await keep(self.archive, fetched.content)
        read = await self._read(fetched.content, fetched, target)
        detail = "; ".join(map(str, read.judgement.why))[:2000]
        page = PageRow(
            url=fetched.url,
            status=fetched.status,
            state=read.judgement.state,
            sha256=sha256,
            size_bytes=len(fetched.content),
            detail=detail,
            content_hash=read.content_hash if read.judgement.ok else None,
            fields=read.fields,
        )
        elsewhere = self._elsewhere(fetched, target)
        if read.judgement.ok and elsewhere and await self.is_target(self.source.source, elsewhere):
            return Duplicate(elsewhere), page
        if read.judgement.ok:
            return await self._content(fetched, target, read, sha256), page
        failure = policy.failure_of(read.judgement)
        if failure in policy.NOT_FOUND.values():
            return _absent(failure, detail, missing=missing), page
        if missing and elsewhere and failure == "layout":
            # Removed pages often lead to a list or to the front page.
            return Gone("redirected", f"{target.path} leads to {fetched.url}"), page
        return Failed(failure, detail), page

    async def _content(self, fetched: Fetched, target: Present, read: Read, sha256: str) -> Content:
        same = target.content_hash == read.content_hash
        if not same and target.sha256 and target.rules != self.rules_version:
            same = await self._said_before(target, fetched) == read.content_hash
        return Content(
            sha256=sha256,
            size_bytes=len(fetched.content),
            content_hash=read.content_hash,
            rules=self.rules_version,
            etag=fetched.etag,
            last_modified=fetched.last_modified,
            same=same,
            content_type=fetched.headers.get(CONTENT_TYPE, ""),
        )

    async def _said_before(self, target: Present, fetched: Fetched) -> str | None:
        """What the page of before says by the rules of now: new rules alone are no change of the page."""
        assert target.sha256 is not None
        content = await find_kept(self.archive, target.sha256)
        return None if content is None else (await self._read(content, fetched, target)).content_hash

    async def _read(self, content: bytes, fetched: Fetched, target: Present) -> Read:
        return await asyncio.to_thread(
            read_target,
            content,
            self.rules,
            url=fetched.url,
            status=fetched.status,
            headers=fetched.headers,
            context=target.context,
        )

    def _elsewhere(self, fetched: Fetched, target: Present) -> str | None:
        """The item of the address that a redirect led to, where that is another one."""
        if not fetched.redirects:
            return None
        try:
            identity = canonical(fetched.url, self.scrape.urls)
        except InvalidUrl:
            return None
        return None if identity == target.identity else policy.item_of(identity)


def _refused(bad: BadStatus, url: str, *, missing: bool) -> Visited:
    if bad.status in policy.NOT_FOUND:
        return _absent(policy.NOT_FOUND[bad.status], bad.detail, missing=missing), PageRow(url, bad.status, "gone")
    state = "blocked" if bad.slug == "blocked" else "error"
    return Failed(bad.slug, bad.detail, bad.retry, bad.after), PageRow(url, bad.status, state, detail=bad.detail)


def _absent(reason: str, detail: str, *, missing: bool) -> Outcome:
    """What is listed and not there is no more than a failure: lists and pages are not always of one mind."""
    return Gone(reason, detail) if missing else Failed(reason, detail, retry=False)
