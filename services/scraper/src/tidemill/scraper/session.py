"""What the hosts of a source are told with each request, and what is kept in between: headers, cookies, tokens."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

from tidemill.common.config.references import UnresolvedReference, refers, resolved
from tidemill.common.config.scraping import Scrape
from tidemill.common.config.secrets import remember_secret
from tidemill.common.http import Cookies, FetchFailure, Held, UnfetchableUrl, host_of
from tidemill.extract import Page, TooSlow, find_text, starts

NO_USE_SECONDS = 300.0
"""So long tokens are not read again after others were refused as well: a wall is not run against with three requests
instead of one."""

Values = Mapping[str, str]
NOTHING: Values = MappingProxyType({})
ReadPage = Callable[[str], Awaitable[Page]]
"""The page that holds the values."""


class NoSecret(FetchFailure):
    """A secret that the source names cannot be had."""

    slug = "secret"


class NoSessionValue(FetchFailure):
    """The page that should hold the tokens does not."""

    slug = "session"
    retry = True


@dataclass(frozen=True, slots=True)
class Told:
    """One request, as it goes out."""

    url: str
    headers: Mapping[str, str]


class Session:
    """Of one source, in one process; its concurrent requests share it."""

    def __init__(self, scrape: Scrape, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.scrape = scrape
        self._clock = clock
        self._reading = asyncio.Lock()
        self._failed = 0
        self._values: Values | None = None if scrape.session else NOTHING
        self._failure: FetchFailure | Held | None = None
        self._no_use_until = 0.0
        self._params = tuple(scrape.session.params) if scrape.session else ()
        keeps = scrape.session is not None or bool(scrape.cookies) or scrape.browser
        self._cookies = Cookies(set(hosts_of(scrape)), keep=keeps)

    def belongs(self, url: str) -> bool:
        """Whether an address is at one of the source's hosts."""
        return self._cookies.belongs(url)

    def cookies(self) -> Cookies:
        """Raises NoSecret."""
        return self._cookies.giving({name: secret(value) for name, value in self.scrape.cookies.items()})

    async def values(self, read: ReadPage) -> Values:
        """Read at the first time, by one for all who wait. Raises FetchFailure, Held."""
        if self._values is not None:
            return self._values
        return await self._read(None, read)

    async def renewed(self, refused: Values, read: ReadPage) -> Values | None:
        """Others in the place of those that were refused; None where there is no use in that: the page has the same as
        before, or others were refused a moment ago. Raises FetchFailure, Held."""
        if self._values is refused and self._clock() < self._no_use_until:
            return None
        values = await self._read(refused, read)
        if values == refused:
            self.were_no_use()
            return None
        return values

    def were_no_use(self) -> None:
        """New ones were refused too."""
        self._no_use_until = self._clock() + NO_USE_SECONDS

    def were_taken(self) -> None:
        self._no_use_until = 0.0

    def told(self, url: str, values: Values) -> Told:
        """A request for this address. Secrets and tokens are for the hosts of the source alone; other headers go
        wherever its pages link to. Raises NoSecret."""
        own, session = self.belongs(url), self.scrape.session
        headers = {
            name.lower(): secret(value) for name, value in self.scrape.headers.items() if own or not refers(value)
        }
        if session is None or not own or not values:
            return Told(url, headers)
        headers |= {name.lower(): text.format_map(values) for name, text in session.headers.items()}
        return Told(with_params(url, {name: text.format_map(values) for name, text in session.params.items()}), headers)

    def without_params(self, url: str) -> str:
        """An address without what `told` added to it."""
        return _without(url, self._params) if self._params else url

    async def _read(self, known: Values | None, read: ReadPage) -> Values:
        """Where the values are still the known ones. Who waited while somebody else failed fails as well."""
        failed = self._failed
        async with self._reading:
            if self._values is not None and self._values is not known:
                return self._values
            if self._failed != failed and self._failure is not None:
                raise self._failure
            try:
                self._values = self._found(await read(self._session_url))
            except (FetchFailure, Held) as failure:
                self._failed, self._failure = self._failed + 1, failure
                raise
            return self._values

    @property
    def _session_url(self) -> str:
        assert self.scrape.session is not None
        return self.scrape.session.url

    def _found(self, page: Page) -> Values:
        assert self.scrape.session is not None
        found = {}
        for name, rule in self.scrape.session.values.items():
            try:
                value = find_text(rule, page)
                why = "finds nothing"
            except TooSlow as error:
                value, why = "", str(error)
            if not value:
                raise NoSessionValue(f"{page.url} holds no {name}: {rule.name} {why}")
            remember_secret(value)
            found[name] = value
        return found


def proxy_of(scrape: Scrape) -> str | None:
    """With its password. Raises NoSecret."""
    return None if scrape.proxy is None else secret(scrape.proxy)


def secret(text: str) -> str:
    """A text with the secrets that it names. Raises NoSecret."""
    try:
        return resolved(text)
    except UnresolvedReference as missing:
        raise NoSecret(str(missing)) from None


def hosts_of(scrape: Scrape) -> Iterator[str]:
    """The hosts of a source: those of its search, of where its entries lead by `link_url`, and of its session."""
    urls = [start.url for start in starts(scrape.search)]
    if scrape.search.link_url is not None:
        urls.append(scrape.search.link_url)
    if scrape.session is not None:
        urls.append(scrape.session.url)
    for url in urls:
        try:
            yield host_of(url)
        except UnfetchableUrl:  # Asking for it will say so.
            continue


def with_params(url: str, params: Mapping[str, str]) -> str:
    """An address with these parameters, which replace those of the same name; the others stay as they are written."""
    if not params:
        return url
    place, hash_, fragment = _without(url, tuple(params)).partition("#")
    added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params.items())
    glue = "" if place.endswith(("?", "&")) else "&" if "?" in place else "?"
    return f"{place}{glue}{added}{hash_}{fragment}"


def _without(url: str, names: tuple[str, ...]) -> str:
    place, hash_, fragment = url.partition("#")
    path, mark, query = place.partition("?")
    written = {quote(name, safe="") for name in names} | set(names)
    kept = [pair for pair in query.split("&") if pair.partition("=")[0] not in written]
    if len(kept) == len(query.split("&")):
        return url
    return f"{path}{mark if kept else ''}{'&'.join(kept)}{hash_}{fragment}"
