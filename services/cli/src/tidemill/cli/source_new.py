"""`tidemill source new`: an interview that ends with a source file."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import typer

from tidemill.cli.running import Assignments, fail, program, read_config
from tidemill.cli.tables import Column, cell, print_table

if TYPE_CHECKING:
    from tidemill.cli.source_trial import Got
    from tidemill.extract.propose import Listed, Proposal

LISTINGS = "listings"
LINKS = {"css": "a", "attribute": "href"}
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
HEAD = """\
# Written by `tidemill source new` on what two pages of the site showed; see docs/scrape-a-site.md.
# Try it: tidemill source test {name}    Judge it: tidemill source lint {name}
# yaml-language-server: $schema=../docs/schema/source.schema.json

"""


def new(
    name: Annotated[str, typer.Argument(metavar="[SOURCE]", help="What the source is called.")] = "",
    search: Annotated[str, typer.Option(metavar="URL", help="A page of the site that lists what there is.")] = "",
    search_page: Annotated[Path | None, typer.Option(metavar="FILE", help="That page, saved; no network.")] = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="A page of one entry, saved; no network.")] = None,
    locale: Annotated[str, typer.Option(help="How numbers are written there: fi, de-CH, en-GB, …")] = "",
    contact: Annotated[str, typer.Option(help="Where the site's owner reaches you.")] = "",
    converter: Annotated[str, typer.Option(help="What makes records of the pages.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take every proposal; ask nothing.")] = False,
    assignments: Assignments = None,
) -> None:
    """Ask what is needed, look at a search page and at the page of one entry, propose rules, write the source file."""
    from tidemill.extract.types.numbers import known_locale

    asks = Interview(yes=yes)
    name = asks.text("Name of the source (lower case, dashes)", name)
    if not NAME.fullmatch(name):
        fail(f"{name!r} is no name: write lower-case letters, digits and dashes, for instance oikotie")
    file = read_config(assignments).common.sources_dir / f"{name}.yaml"
    if file.exists():
        fail(f"{file} is there already: `tidemill source test {name}` tries it")
    search = asks.text("Address of a page that lists what there is", search)
    contact = asks.text("Your address or URL, for the site's owner", contact, default="")
    locale = asks.text("How numbers are written there (fi, de-CH, en-GB, auto)", locale, default="auto")
    if not known_locale(locale):
        fail(f"nobody here knows how numbers are written in {locale}; take fi, de-CH, en-GB or auto")
    draft: dict[str, Any] = {"source": name, "politeness": {"rate": "1/s"} | ({"contact": contact} if contact else {})}
    listing = _got(draft, search, search_page)
    found = _search(asks, listing, search)
    entry = found.pop("entry")
    kinds = "listings, pages (records of any kind), or none (kept only)"
    becomes = asks.text(f"What the pages become: {kinds}", converter, default="listings")
    fields = _fields(asks, _got(draft, entry, page), locale, becomes)
    source = {
        "source": name,
        "title": asks.text("Title, for people", default=name),
        "schedule": {"cron": asks.text("When, as cron (UTC)", default="0 5 * * *")},
        "politeness": draft["politeness"],
        "scrape": {"search": found},
        "extract": {"locale": locale, "fields": fields},
        **_convert(asks, becomes),
    }
    _write(file, name, source)
    typer.echo(f"\nwrote {file}\n\n  {program()} source test {name}\n  {program()} source lint {name}")


class Interview:
    """Questions to a person; what was given before, or with `--yes` every default, is not asked for."""

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes

    def text(self, question: str, given: str = "", default: str | None = None) -> str:
        if given:
            return given
        if self._yes:
            if default is None:
                fail(f"{question}? Give it on the command line, or leave out --yes")
            return default
        return _asked(question, default=default).strip()

    def names(self, question: str, known: Sequence[str]) -> list[str]:
        """Some of the known names; asked again while others are given."""
        while not self._yes:
            given = [name for name in re.split(r"[,\s]+", _asked(question, default="")) if name]
            unknown = [name for name in given if name not in known]
            if not unknown:
                return given
            typer.echo(f"no {', '.join(unknown)} here")
        return []

    def choice(self, question: str, most: int) -> int:
        """A number from 1."""
        return 1 if self._yes or most == 1 else int(_asked(question, default=1, type=typer_range(most)))


def _asked(question: str, **prompt: Any) -> str:
    """What a person answers, who is there to do so."""
    try:
        return str(typer.prompt(question, **prompt))
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        fail(f"nobody answers: {question}? Give it on the command line, and --yes for all that is proposed")


def typer_range(most: int) -> Any:
    import click

    return click.IntRange(1, most)


def _got(draft: Mapping[str, Any], url: str, saved: Path | None) -> Got:
    """The page, from a file or asked for once, politely."""
    from tidemill.cli.source_trial import Got, fetch
    from tidemill.common.config.politeness import Politeness
    from tidemill.common.config.sources import SourceFile

    if saved is not None:
        try:
            return Got(url, 200, {}, saved.read_bytes())
        except OSError as error:
            fail(f"{saved} cannot be read: {error.strerror}")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        fail(f"{url or 'nothing'} is no address on the web; write https://host/path, or give a saved page")
    if parts.hostname in ("127.0.0.1", "localhost") and parts.port:
        draft["politeness"]["allow_private"] = [f"{parts.hostname}:{parts.port}"]
    polite = Politeness.model_validate(draft["politeness"])
    anything = {"search": {"url": url, "link": LINKS}}
    rules = {"fields": {"title": {"from": {"css": "title"}}}}
    return asyncio.run(
        fetch(
            SourceFile.model_validate(
                {"source": draft["source"], "politeness": polite, "scrape": anything, "extract": rules}
            ),
            url,
        )
    )


def _search(asks: Interview, got: Got, url: str) -> dict[str, Any]:
    """The section `search`, with the address of one entry beside it."""
    from tidemill.extract.propose import propose_links, propose_paging

    page = got.page()
    groups = propose_links(page)
    if not groups:
        fail(
            f"{url} links to nothing that looks like entries: it may be filled by JavaScript (look for the site's API, "
            "or set scrape.browser), or be a wall. docs/scrape-a-site.md says how to go on"
        )
    _print_groups(groups[:9])
    chosen = groups[asks.choice("Which of them are the entries", min(len(groups), 9)) - 1]
    search: dict[str, Any] = {"url": url, "link": dict(chosen.rule)}
    paging = propose_paging(page)
    if paging and "next" in paging:
        search["paging"] = paging
    elif paging:
        search["url"] = _counted(url, paging["param"])
        search["paging"] = {"first": paging["first"]}
    return {**search, "entry": chosen.urls[0]}


def _counted(url: str, param: str) -> str:
    """The address with `{page}` as the value of that parameter."""
    parts = urlsplit(url)
    others = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] != param])
    return urlunsplit(parts._replace(query=f"{others}{'&' if others else ''}{param}={{page}}"))


def _print_groups(groups: Sequence[Listed]) -> None:
    typer.echo("\nLinks that look alike:")
    for number, group in enumerate(groups, 1):
        typer.echo(f"  {number}  {len(group.urls):>4}  {group.pattern}    {group.urls[0]}")


def _fields(asks: Interview, got: Got, locale: str, becomes: str) -> dict[str, dict[str, Any]]:
    from tidemill.extract.propose import propose_fields

    proposals = propose_fields(got.page(), locale)
    if becomes == LISTINGS:
        proposals = _as_listing(proposals)
    if not proposals:
        fail(
            f"{got.url}: nothing on it has a label or is marked up; write its fields by hand (docs/extraction-rules.md)"
        )
    _print_proposals(proposals)
    fields = {one.name: dict(one.rules) for one in proposals}
    for name in asks.names("Leave out (names, empty: none)", list(fields)):
        del fields[name]
    likely = next((name for name in fields if fields[name].get("type") == "money"), next(iter(fields)))
    for name in asks.names(f"Without which is a page no success (empty: {likely})", list(fields)) or [likely]:
        fields[name]["required"] = True
    return fields


def _as_listing(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Under the names of a listing's fields, each once; what a listing has no field for is named and left out."""
    from dataclasses import replace

    from tidemill.listings.labels import field_of_label, is_counter

    known: dict[str, Proposal] = {}
    unknown = []
    for one in proposals:
        rule = one.rules["from"]
        label = str(rule.get("label") or rule.get("jsonld") or one.name)
        field = field_of_label(label)
        if field is not None and field not in known:
            known[field] = replace(one, name=field)
        elif is_counter(label):
            known[one.name] = replace(one, rules={**one.rules, "volatile": True})
        elif field is None:
            unknown.append(label)
    if unknown:
        typer.echo(f"\nA listing has no field for: {', '.join(unknown)}")
    return list(known.values())


def _print_proposals(proposals: Sequence[Proposal]) -> None:
    typer.echo("\nOn the page of one entry:")
    columns = [Column("field", whole=True), Column("type"), Column("value", most=50), Column("raw", most=50)]
    rows = [[one.name, one.rules.get("type", "text"), cell(one.value), one.raw] for one in proposals]
    print_table(columns, rows, ("field", "value", "type"))
    typer.echo()


def _convert(asks: Interview, becomes: str) -> dict[str, Any]:
    if becomes in ("", "none"):
        return {}
    options = {"price_kind": asks.text("For sale or for rent", default="sale")} if becomes == LISTINGS else {}
    return {"convert": {"with": becomes} | ({"options": options} if options else {})}


def _write(file: Path, name: str, source: Mapping[str, Any]) -> None:
    import yaml

    file.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(source), sort_keys=False, allow_unicode=True, width=120)
    try:
        file.write_text(HEAD.format(name=name) + text, encoding="utf-8")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
