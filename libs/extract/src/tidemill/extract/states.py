"""What a page is: what was asked for, or one of the things that answer in its place."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tidemill.extract.extract import Record
from tidemill.extract.finding import TooSlow, matches
from tidemill.extract.page import Page
from tidemill.extract.paths import path_of
from tidemill.extract.rules import PageRules, Sign
from tidemill.extract.text import tidy

State = Literal["ok", "gone", "blocked", "soft_404", "shell", "incomplete"]
"""`incomplete`: none of the others, and required fields are missing; mostly a new layout."""


@dataclass(frozen=True, slots=True)
class Why:
    """A reason: a name for counting, and words for people."""

    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The state of a page, and what it was told by."""

    state: State
    why: tuple[Why, ...] = ()

    @property
    def ok(self) -> bool:
        return self.state == "ok"


_BOT_WALLS: Mapping[str, str] = {
    "cf-challenge": "Cloudflare",
    "cf_chl_opt": "Cloudflare",
    "challenge-platform/h/": "Cloudflare",
    "geo.captcha-delivery.com": "DataDome",
    "px-captcha": "HUMAN",
    "_incapsula_resource": "Imperva",
    "awswaf.com": "AWS WAF",
    "/_sec/cp_challenge": "Akamai",
    "g-recaptcha": "reCAPTCHA",
    "h-captcha": "hCaptcha",
    "cf-turnstile": "Turnstile",
}
"""Texts in the source of a page, in lower case."""
_BOT_WORDS = re.compile(
    r"are you (?:a )?(?:human|robot)|not a robot|unusual traffic|automated (?:access|requests|queries)|access denied"
    r"|attention required|just a moment|verify(?:ing)? (?:that )?you are (?:a )?human|too many requests"
    r"|pardon our interruption"
    r"|sind sie ein (?:mensch|roboter)|kein roboter|pas un robot|oletko robotti|nem vagyok robot|non sono un robot",
    re.IGNORECASE,
)
_GONE_WORDS = re.compile(
    r"kohde on poistunut|ilmoitus on poistettu|ei ole enää (?:myynnissä|vuokrattavissa|saatavilla)|nicht mehr verfügbar"
    r"|(?:inserat|anzeige|objekt) (?:ist|wurde) (?:deaktiviert|gelöscht|entfernt|verkauft|vermietet)"
    r"|no longer available|(?:listing|property|advert) (?:has been|was|is) (?:removed|sold|let|withdrawn)"
    r"|n[’']est plus (?:disponible|en ligne)"
    r"|non (?:è )?più disponibile|már nem elérhető|hirdetés (?:lejárt|törölve|inaktív)",
    re.IGNORECASE,
)
_NOT_FOUND_WORDS = re.compile(
    r"\b404\b|not found|page (?:does not|doesn[’']t) exist|sivua ei (?:löy[dt]|ole)|nicht gefunden|existiert nicht"
    r"|(?:page )?introuvable|n[’']existe pas|non trovata|nem található|hittades inte|finns inte",
    re.IGNORECASE,
)
_ROOTS = (
    "#root:empty, #app:empty, #__next:empty, #__nuxt:empty, app-root:empty, div[ng-app]:empty, [data-reactroot]:empty"
)
_NEEDS_SCRIPT = re.compile(
    r"(?:enable|activate|aktivieren|activer|abilita|engedélyez\w*|requires?) ?\w* javascript|javascript .{0,40}"
    r"(?:disabled|required|aktiv|désactivé|päälle|käytössä|ei ole)|ota javascript",
    re.IGNORECASE,
)
_GONE_STATUS = (404, 410)
_BLOCKED_STATUS = (401, 403, 407, 429, 503)
LITTLE_TEXT, WALL_TEXT = 400, 2_000
"""Characters that are seen at most of a page which only JavaScript fills, and of a wall."""


def judge(page: Page, rules: PageRules, record: Record | None = None) -> Judgement:
    """The state of a page, by its status, the signs of the rules and, if a required field is missing, signs that many
    sites share. `record`: what was extracted from it; without one the required fields decide nothing."""
    own = [(state, why) for state, why in _own_signs(page, rules)]
    if own:
        state = own[0][0]
        return Judgement(state, tuple(why for found, why in own if found == state))
    if page.status in _GONE_STATUS:
        return Judgement("gone", (Why("status", str(page.status)),))
    if page.status in _BLOCKED_STATUS:
        return Judgement("blocked", (Why("status", str(page.status)), *_wall(page)))
    lacking = _lacking(page, record)
    if not lacking:
        return Judgement("ok")
    if rules.states.known_signs and not page.unread:
        for state, look in _LOOKS.items():
            if told := tuple(look(page)):
                return Judgement(state, (*told, *lacking))
    return Judgement("incomplete", lacking)


def stands_in(page: Page) -> bool:
    """Whether a page without entries is no page of the search at all: an error, a wall, a shell, or unreadable."""
    return page.status >= 400 or bool(page.unread) or not page.source.strip() or any(_wall(page)) or any(_shell(page))


def _lacking(page: Page, record: Record | None) -> tuple[Why, ...]:
    """Why the page is no success."""
    if page.unread:
        return (Why("unreadable", page.unread),)
    if not page.source.strip():
        return (Why("empty", "the answer has no content"),)
    if record is None:
        return ()
    if record.missing:
        return tuple(Why("required_missing", name) for name in record.missing)
    return () if record.values else (Why("nothing_found", "no rule found anything"),)


def _own_signs(page: Page, rules: PageRules) -> Iterator[tuple[State, Why]]:
    states = rules.states
    order: tuple[tuple[State, tuple[Sign, ...]], ...] = (
        ("blocked", states.blocked),
        ("gone", states.gone),
        ("soft_404", states.soft_404),
        ("shell", states.shell),
    )
    for state, signs in order:
        for sign in signs:
            if holds(sign, page):
                told = ", ".join(f"{name}: {value}" for name, value in sign.model_dump(exclude_none=True).items())
                yield state, Why("sign", told)


def holds(sign: Sign, page: Page) -> bool:
    """Whether all that the sign says is so."""
    return all(_HOLDS[name](value, page) for name, value in sign.model_dump(exclude_none=True).items())


def _fits(pattern: str, text: str) -> bool:
    try:
        return bool(matches(pattern, text))
    except TooSlow:
        return False


_HOLDS: Mapping[str, Callable[..., bool]] = {
    "text": lambda wanted, page: tidy(wanted).casefold() in page.text.casefold(),
    "title": lambda pattern, page: _fits(pattern, page.title),
    "css": lambda selector, page: page.node is not None and page.node.css_first(selector) is not None,
    "html": lambda pattern, page: _fits(pattern, page.source),
    "url": lambda pattern, page: _fits(pattern, page.url),
    "jsonpath": lambda path, page: bool(path_of(path).find(page.value)),
    "status": lambda status, page: page.status == status,
}


def _wall(page: Page) -> Iterator[Why]:
    # Pages with content hold the same scripts: a CAPTCHA of the contact form, a wall that let us pass.
    if len(page.text) > WALL_TEXT:
        return
    source = page.source[:200_000].lower()
    if name := next((name for sign, name in _BOT_WALLS.items() if sign in source), None):
        yield Why("bot_wall", name)
    if found := _BOT_WORDS.search(f"{page.title} {page.text}"):
        yield Why("bot_wall", found[0])


def _gone(page: Page) -> Iterator[Why]:
    if found := _GONE_WORDS.search(page.text):
        yield Why("gone_words", found[0])


def _not_found(page: Page) -> Iterator[Why]:
    heading = None if page.node is None else page.node.css_first("h1")
    for text in (page.title, "" if heading is None else tidy(heading.text())):
        if found := _NOT_FOUND_WORDS.search(text):
            yield Why("not_found_words", found[0])
            return


def _shell(page: Page) -> Iterator[Why]:
    if page.node is None or (not page.scripts and page.node.css_first("script[src]") is None):
        return
    if page.node.css_first(_ROOTS) is not None:
        yield Why("javascript_shell", "the element that scripts fill is empty")
    elif _NEEDS_SCRIPT.search(page.text):
        yield Why("javascript_shell", "asks for JavaScript")
    elif len(page.text) < LITTLE_TEXT and len(page.source) > 10 * len(page.text):
        yield Why("javascript_shell", f"{len(page.text)} characters are seen of {len(page.source)}")


_LOOKS: Mapping[State, Callable[[Page], Iterator[Why]]] = {
    "blocked": _wall,
    "gone": _gone,
    "soft_404": _not_found,
    "shell": _shell,
}
