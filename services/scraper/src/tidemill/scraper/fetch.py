"""How pages are asked for: with what their source says, politely, and by a browser where it must be."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from tidemill.common.config.scraping import Scrape
from tidemill.common.config.sources import SourceFile
from tidemill.common.http import Answer, BadStatus, Patience, PoliteClient, Sizes, Usage, Validators, user_agent
from tidemill.extract import Page
from tidemill.scraper.browser import HTML, Browser, Wanted
from tidemill.scraper.session import ReadPage, Session, Values, proxy_of

PATIENCE = Patience(total=timedelta(minutes=2))
PART_PATIENCE = Patience(answer=timedelta(seconds=10), total=timedelta(seconds=30))
"""For what a page in a browser asks for."""
WAIT = timedelta(seconds=30)
"""For leave to ask."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page, read whole."""

    url: str
    """As it was asked for, or where redirects led; without the parameters of a session."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case; without cookies."""
    content: bytes
    etag: str | None = None
    last_modified: str | None = None
    redirects: tuple[str, ...] = ()
    """What was asked before, in order, for people."""
    cookies: tuple[str, ...] = field(default=(), repr=False)
    """What `Set-Cookie` said: for the browser that shows the page, and for nobody else."""


class Fetch(Protocol):
    """How pages are asked for. Everything raises FetchFailure, and Held where a host must not be asked now."""

    async def page(
        self, source: SourceFile, url: str, usage: Usage, known: Validators | None = None, known_bytes: int = 0
    ) -> Fetched | None:
        """None where it is the one that is known."""

    async def allowed(self, source: SourceFile, url: str, usage: Usage) -> bool:
        """Whether robots.txt lets us ask for it."""


class PoliteFetch:
    """Fetch, with the client that all of Tidemill uses. One for a process; `browser` is for sources that want one."""

    def __init__(self, client: PoliteClient, browser: Browser | None = None) -> None:
        self._client = client
        self._browser = browser or Browser()
        self._sessions: dict[str, Session] = {}

    async def close(self) -> None:
        """End the browser, where one runs."""
        await self._browser.close()

    async def page(
        self, source: SourceFile, url: str, usage: Usage, known: Validators | None = None, known_bytes: int = 0
    ) -> Fetched | None:
        scrape = _scrape(source)
        session = self._session(source.source, scrape)
        if not scrape.browser:
            return await self._page(source, session, url, usage, known, known_bytes)
        # The frame of such a page stays the same while what scripts put into it changes, so nothing is conditional.
        document = await self._page(source, session, url, usage)
        assert document is not None
        if document.headers.get("content-type", "").partition(";")[0].strip().lower() not in HTML:
            return document
        shown = await self._browser.show(document, _Asking(self, source, session, usage), wanted_of(source))
        headers = {name: value for name, value in document.headers.items() if name not in _OF_THE_BYTES}
        return replace(
            document,
            url=shown.url,
            headers=headers | {"content-type": "text/html; charset=utf-8"},
            content=shown.content,
            etag=None,
            last_modified=None,
            cookies=(),
        )

    async def allowed(self, source: SourceFile, url: str, usage: Usage) -> bool:
        return await self._client.allowed(
            url,
            source=source.source,
            politeness=source.politeness,
            usage=usage,
            proxy=proxy_of(_scrape(source)),
        )

    def _session(self, name: str, scrape: Scrape) -> Session:
        """The source's, begun anew when its file says something else."""
        session = self._sessions.get(name)
        if session is None or session.scrape != scrape:
            session = self._sessions[name] = Session(scrape)
        return session

    async def _page(
        self,
        source: SourceFile,
        session: Session,
        url: str,
        usage: Usage,
        known: Validators | None = None,
        known_bytes: int = 0,
    ) -> Fetched | None:
        read = self.reader(source, session, usage)
        conditions = _conditions(known)
        values = await session.values(read) if session.belongs(url) else {}
        renew_on = session.scrape.session.renew_on if session.scrape.session and values else ()
        try:
            page = await self.ask(source, session, url, values, usage, conditions, known_bytes=known_bytes)
        except BadStatus as failure:
            renewed = await session.renewed(values, read) if failure.status in renew_on else None
            if renewed is None:
                raise
            try:
                page = await self.ask(source, session, url, renewed, usage, conditions, known_bytes=known_bytes)
            except BadStatus as again:
                if again.status in renew_on:
                    session.were_no_use()
                raise
        session.were_taken()
        return page

    def reader(self, source: SourceFile, session: Session, usage: Usage) -> ReadPage:
        """Of the page that holds the session's values."""

        async def read(url: str) -> Page:
            page = await self.ask(source, session, url, {}, usage)
            assert page is not None, "nothing was known"
            return Page.of_bytes(page.content, url=page.url, status=page.status, headers=page.headers)

        return read

    async def ask(
        self,
        source: SourceFile,
        session: Session,
        url: str,
        values: Values,
        usage: Usage,
        headers: Mapping[str, str] | None = None,
        *,
        cookies: Mapping[str, str] | None = None,
        patience: Patience = PATIENCE,
        wait: timedelta = WAIT,
        known_bytes: int = 0,
    ) -> Fetched | None:
        """One request, with what the source says; `cookies` count more than those that are kept."""
        scrape = _scrape(source)
        told = session.told(url, values)
        async with self._client.open(
            told.url,
            source=source.source,
            politeness=source.politeness,
            headers={**(headers or {}), **told.headers},
            sizes=Sizes(received=scrape.max_size, decoded=scrape.max_size),
            patience=patience,
            wait=wait,
            known_bytes=known_bytes,
            usage=usage,
            proxy=proxy_of(scrape),
            cookies=session.cookies().over(cookies or {}),
        ) as answer:
            return None if answer.status == 304 else await _read(answer, url, session)


class _Asking:
    """What a page in a browser has in the place of a network."""

    def __init__(self, fetch: PoliteFetch, source: SourceFile, session: Session, usage: Usage) -> None:
        self._fetch = fetch
        self._source = source
        self._session = session
        self._usage = usage
        self.source = source.source
        self.interval = source.politeness.interval
        self.max_size = _scrape(source).max_size
        self.user_agent = user_agent(source.politeness.contact, source.politeness.user_agent)
        self.language = next(
            (value for name, value in _scrape(source).headers.items() if name.lower() == "accept-language"), ""
        )

    def belongs(self, url: str) -> bool:
        return self._session.belongs(url)

    def cookies(self, url: str) -> Mapping[str, str]:
        return self._session.cookies().pairs(url)

    async def ask(self, url: str, headers: Mapping[str, str], cookies: Mapping[str, str], wait: timedelta) -> Fetched:
        read = self._fetch.reader(self._source, self._session, self._usage)
        values = await self._session.values(read) if self.belongs(url) else {}
        answer = await self._fetch.ask(
            self._source,
            self._session,
            url,
            values,
            self._usage,
            headers,
            cookies=cookies,
            patience=PART_PATIENCE,
            wait=wait,
        )
        assert answer is not None, "nothing was known"
        return answer


_OF_THE_BYTES = (
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "content-md5",
    "digest",
    "etag",
    "last-modified",
)


def _scrape(source: SourceFile) -> Scrape:
    assert source.scrape is not None
    return source.scrape


async def _read(answer: Answer, url: str, session: Session) -> Fetched:
    content = await answer.read()
    return Fetched(
        session.without_params(answer.address) if answer.redirects else url,
        answer.status,
        {name: value for name, value in answer.headers.items() if name != "set-cookie"},
        content,
        answer.etag,
        answer.last_modified,
        answer.redirects,
        tuple(answer.headers.get_list("set-cookie")),
    )


def wanted_of(source: SourceFile) -> Wanted:
    """By which selectors a page shows that its scripts are done: those of all required fields, or of a search's
    entries."""
    scrape = _scrape(source)
    required = [] if source.extract is None else [source.extract.fields[name] for name in source.extract.required]
    chosen = [tuple(rule.css for rule in each.from_ if rule.css) for each in required]
    entries = scrape.search.items.css if scrape.search.items and scrape.search.items.css else scrape.search.link.css
    return Wanted(tuple(each for each in chosen if each), entries)


def _conditions(known: Validators | None) -> dict[str, str]:
    if known is not None and known.etag:
        return {"if-none-match": known.etag}
    if known is not None and known.last_modified:
        return {"if-modified-since": known.last_modified}
    return {}
