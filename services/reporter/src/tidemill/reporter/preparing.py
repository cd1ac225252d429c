"""A report made ready to be sent: rendered in processes of its own, its files kept in the archive."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill.common.archive import Archive
from tidemill.common.channels import Attachment
from tidemill.reporter.forms import KINDS, Form, file_name
from tidemill.reporter.letters import Picture, Words, plain_words, words_of
from tidemill.reporter.render_apart import RenderingFailed, render_apart

if TYPE_CHECKING:
    from tidemill.reporter.report import Report  # It comes with the first report.


@dataclass(frozen=True, slots=True)
class Prepared:
    """What messages on one edition are made of."""

    words: Words
    pictures: tuple[Attachment, ...] = ()
    files: dict[str, Attachment] = field(default_factory=dict)
    """By their form."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Of all that is in the archive now, by the name of the file."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why there is none, by form."""

    def attached(self, wanted: Iterable[str]) -> list[Attachment]:
        return [*self.pictures, *(self.files[form] for form in wanted if form in self.files)]

    def lacks(self, wanted: Iterable[str]) -> list[str]:
        """What a reader is told of files that could not be made."""
        return [
            f"The attachment {form} could not be made: {self.failed[form]}" for form in wanted if form in self.failed
        ]


async def prepare(report: "Report", content: bytes, forms: Iterable[str], archive: Archive) -> Prepared:
    """Render and keep. What fails is named in `failed`, and the rest is there all the same. Raises `Unavailable` where
    the archive is away."""
    failed: dict[str, str] = {}
    words = plain_words(report)
    try:
        words = words_of(await render_apart(content, Form.MAIL))
    except RenderingFailed as wrong:
        failed[Form.MAIL] = str(wrong)
    prepared = Prepared(words, tuple([await _keep_picture(archive, one) for one in words.pictures]), failed=failed)
    prepared.sizes.update({one.name: len(one.content) for one in words.pictures})
    for form in map(Form, forms):
        try:
            made = await render_apart(content, form)
        except RenderingFailed as wrong:
            failed[form] = str(wrong)
            continue
        name = file_name(report.id, report.edition, form)
        prepared.sizes[name] = len(made)
        media_type = KINDS[form].media_type.partition(";")[0]
        prepared.files[form] = Attachment(name=name, media_type=media_type, key=await keep(archive, made))
    return prepared


async def keep(archive: Archive, content: bytes) -> str:
    """Its SHA-256."""

    async def whole() -> AsyncIterator[bytes]:
        yield content

    return (await archive.put(whole())).sha256


async def _keep_picture(archive: Archive, picture: Picture) -> Attachment:
    return Attachment(
        name=picture.name,
        media_type=picture.media_type,
        key=await keep(archive, picture.content),
        content_id=picture.content_id,
    )
