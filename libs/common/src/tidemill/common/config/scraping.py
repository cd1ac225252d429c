"""What a source file says about pages that are found by searching and kept visiting."""

from datetime import timedelta
from string import Formatter
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from tidemill.common.config.downloading import WebAddress
from tidemill.common.config.references import FORMS, refers
from tidemill.common.config.secrets import Schemes, ServerUrl, TakesSecrets
from tidemill.common.config.settings import Settings
from tidemill.common.config.units import ByteSize, Duration
from tidemill.extract import InvalidRule, Rule, SearchRules, UrlRules

HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Value = Annotated[str, TakesSecrets()]
"""What is sent; it may name secrets, so send `resolved(value)`."""
OURS = ("host", "user-agent", "from", "content-length", "transfer-encoding", "connection", "accept-encoding", "cookie")
"""Headers that the client sets: they say who we are, or how the connection works."""
SECRET = ("authorization", "proxy-authorization", "x-api-key")


def _not_ours(headers: dict[str, Any]) -> dict[str, Any]:
    for name, value in headers.items():
        if name.lower() in OURS:
            instead = "politeness.user_agent" if name.lower() == "user-agent" else "cookies, or nothing"
            raise ValueError(f"{name} is set by the client; use {instead}")
        if name.lower() in SECRET and not refers(value):
            raise ValueError(f"{name} is a secret; name it instead: {FORMS}")
    return headers


class Gone(Settings):
    """When a target is gone. Only a run whose searches were all complete, and that no blocking check holds, counts."""

    after: Annotated[int, Field(ge=1, le=100)] = 2
    """How many such runs in a row did not list it."""
    probe: bool = True
    """Whether its own page is asked first: it is gone where that says so too, and stays where it is still there.
    Without it, not to be listed is enough."""


class Retry(Settings):
    """When a target that could not be had is tried again, after the attempts within a run."""

    first: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=1)
    """After the first run that failed; twice as long after each further one, with some jitter."""
    longest: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(days=7)
    """No pause is longer."""
    give_up_after: Annotated[int, Field(ge=1, le=1000)] = 10
    """Runs in a row that failed; then the target is given up, until it is listed with another hint or asked for."""

    @model_validator(mode="after")
    def _in_order(self) -> "Retry":
        if self.first > self.longest:
            raise ValueError("first is longer than longest")
        return self


class Session(Settings):
    """Tokens of a site's API: read from a page, and sent with every request."""

    url: WebAddress
    """The page that holds them."""
    values: Annotated[dict[Name, Rule], Field(min_length=1)]
    """Where each value stands: `{token: {css: "meta[name=api-token]", attribute: content}}`."""
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    """Headers with the values in them: `{OTA-token: "{token}"}`."""
    params: dict[str, str] = Field(default_factory=dict)
    """Parameters with the values in them, added to each address."""
    renew_on: tuple[int, ...] = (401, 403)
    """An answer with one of these has them read again, once, and the request repeated."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "Session":
        for key, texts in (("headers", self.headers), ("params", self.params)):
            for name, text in texts.items():
                try:
                    unknown = {part for _, part, _, _ in Formatter().parse(text) if part is not None} - set(self.values)
                except ValueError as error:
                    raise ValueError(f"{key}.{name}: {error}") from None
                if unknown:
                    raise ValueError(
                        f"{key}.{name} has {{{min(unknown)}}}. Valid names: {', '.join(sorted(self.values))}"
                    )
        if not self.headers and not self.params:
            raise InvalidRule("sends its values nowhere; write headers or params")
        return self


class Scrape(Settings):
    """Pages that are found by searching: listed, visited when there is reason to, missed when they are listed no
    more. What is on them, `extract` says."""

    search: SearchRules
    """Where they are listed."""
    urls: UrlRules = UrlRules()
    """Which parts of an address say which page it is."""
    stale_after: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=24)
    """A target that was looked at more recently is fresh: not asked for again unless its entry tells of a change."""
    budget: Annotated[int, Field(ge=1)] | None = None
    """Targets that one run asks for at most; the others wait, the stalest goes first next time. Search pages do
    not count."""
    gone: Gone = Gone()
    retry: Retry = Retry()
    session: Session | None = None
    """For an API that wants tokens which a page of the site holds."""
    headers: Annotated[dict[HeaderName, Value], AfterValidator(_not_ours)] = Field(default_factory=dict)
    """Sent with every request, for instance `{Accept-Language: fi}`; they may name secrets."""
    cookies: dict[str, Value] = Field(default_factory=dict)
    """Sent with every request to the hosts of the search."""
    proxy: Annotated[ServerUrl, Schemes("http", "https")] | None = None
    """Proxy for all requests, for instance `http://user:${env:PROXY_PASSWORD}@proxy.example:8080`."""
    browser: bool = False
    """Whether pages are made by a headless Chromium, for sites that only JavaScript fills; needs the extra
    `browser`."""
    max_size: Annotated[ByteSize, Field(gt=0)] = 5_000_000
    """Larger pages are refused."""
