"""How a report goes out by e-mail."""

import re
from email.utils import getaddresses
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

from tidemill.reporter.forms import Form
from tidemill.reporter.table import Part

SPEC = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+")
UNPRINTABLE = re.compile("[\x00-\x1f\x7f]")


def _address(text: str) -> str:
    """One address, with a name or without; never one that would begin another header."""
    found = [spec for _, spec in getaddresses([text])]
    if UNPRINTABLE.search(text) or len(found) != 1 or not SPEC.fullmatch(found[0]):
        raise ValueError(f"{text!r} is no address: write agnes@example.org, or Ágnes <agnes@example.org>")
    return text


MailAddress = Annotated[str, AfterValidator(_address)]


class Envelope(Part):
    """What a mail needs beside its report. The same report in the same envelope is the same message."""

    sender: MailAddress = "Tidemill <tidemill@localhost>"
    recipients: tuple[MailAddress, ...] = ()
    attachments: tuple[Form, ...] = ()
    """Forms of the report that go along."""
    link: str = ""
    """Where the whole report can be read."""
    charts: bool = True
    """Whether what stands out is drawn, at most three times."""
    date: AwareDatetime | None = None
    """When the message was first meant to go; without it there is no `Date`, which whoever sends it has to add."""
