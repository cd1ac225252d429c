"""The only module of the downloader that knows the HTTP client."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol

from tidemill.common.config.sources import SourceFile
from tidemill.common.http import (
    Bandwidth,
    ChecksumMismatch,
    FetchFailure,
    NotModified,
    PoliteClient,
    Progress,
    Sizes,
    Usage,
    Validators,
    download,
    forget,
)
from tidemill.downloader.outcomes import Present
from tidemill.downloader.policy import file_name

PAGE = Sizes(received=20_000_000, decoded=50_000_000)
CHECKSUMS = Sizes(received=1_000_000, decoded=1_000_000)
_SHA256 = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")


@dataclass(frozen=True, slots=True)
class Page:
    """A small document, read whole."""

    url: str
    """Where it was found in the end."""
    content: bytes
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A whole file on our disk, checked."""

    path: Path
    size_bytes: int
    etag: str | None
    last_modified: str | None

    @property
    def modified_at(self) -> datetime | None:
        return parse_date(self.last_modified)


class Fetch(Protocol):
    """How files are asked for. Everything raises FetchFailure, and Held where a host must not be asked now."""

    async def page(
        self, source: SourceFile, url: str, usage: Usage, known: Validators | None = None, known_bytes: int = 0
    ) -> Page | None:
        """None where it is the one that is known."""

    async def file(
        self,
        source: SourceFile,
        url: str,
        usage: Usage,
        *,
        part: Path,
        present: Present | None,
        on_progress: Callable[[Progress], None],
    ) -> Content | None:
        """None where it is what is present. Goes on with what an earlier attempt left at `part`."""


class PoliteFetch:
    """Fetch, with the client that all of Tidemill uses."""

    def __init__(self, client: PoliteClient) -> None:
        self._client = client

    async def page(
        self, source: SourceFile, url: str, usage: Usage, known: Validators | None = None, known_bytes: int = 0
    ) -> Page | None:
        async with self._client.open(
            url,
            source=source.source,
            politeness=source.politeness,
            headers=_conditions(known),
            sizes=PAGE,
            known_bytes=known_bytes,
            usage=usage,
        ) as answer:
            if answer.status == 304:
                return None
            return Page(answer.url, await answer.read(), answer.etag, answer.last_modified)

    async def file(
        self,
        source: SourceFile,
        url: str,
        usage: Usage,
        *,
        part: Path,
        present: Present | None,
        on_progress: Callable[[Progress], None],
    ) -> Content | None:
        wants = source.download
        assert wants is not None
        got = await download(
            self._client,
            url,
            part,
            source=source.source,
            politeness=source.politeness,
            known=Validators(present.etag, present.last_modified) if present else None,
            known_bytes=present.size_bytes if present else 0,
            expect=wants.expect,
            min_size=0,
            max_size=wants.max_size,
            bandwidth=Bandwidth(wants.bandwidth) if wants.bandwidth else None,
            on_progress=on_progress,
            usage=usage,
        )
        if isinstance(got, NotModified):
            return None
        if wants.checksum is not None:
            # After the file, so that nothing is asked about one that did not change.
            published = await self._checksum(source, wants.checksum.url, url, usage)
            if published != got.sha256:
                forget(part)
                raise ChecksumMismatch(f"{url} has the SHA-256 {got.sha256}, and {published} is published")
        return Content(got.path, got.size_bytes, got.etag, got.last_modified)

    async def _checksum(self, source: SourceFile, template: str, url: str, usage: Usage) -> str:
        name = file_name(url)
        address = template.replace("{url}", url).replace("{name}", name)
        page = await self.page(source, address, usage)
        found = find_checksum(page.content.decode("utf-8", "replace"), name) if page else None
        if found is None:
            raise NoChecksum(f"{address} holds no SHA-256 of {name}")
        return found


def _conditions(known: Validators | None) -> dict[str, str]:
    if known is not None and known.etag:
        return {"If-None-Match": known.etag}
    if known is not None and known.last_modified:
        return {"If-Modified-Since": known.last_modified}
    return {}


class NoChecksum(FetchFailure):
    """The published checksum cannot be read."""

    slug = "checksum"


def find_checksum(text: str, name: str) -> str | None:
    """The SHA-256 in hex beside this name, or the only one there is."""
    found = [(match[0].lower(), line) for line in text.splitlines() for match in _SHA256.finditer(line)]
    named = {sum for sum, line in found if name in line.replace("*", " ").split() or f"({name})" in line}
    every = named or {sum for sum, _ in found}
    return every.pop() if len(every) == 1 else None


def parse_date(text: str | None) -> datetime | None:
    """A date of HTTP; None for what is none."""
    try:
        date = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return date if date is None or date.tzinfo else date.replace(tzinfo=UTC)
