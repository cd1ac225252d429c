"""How a report goes out by e-mail."""

from pydantic import AwareDatetime

from tidemill.reporter.forms import Form
from tidemill.reporter.table import Part


class Envelope(Part):
    """What a mail needs beside its report. The same report in the same envelope is the same message."""

    sender: str = "Tidemill <tidemill@localhost>"
    recipients: tuple[str, ...] = ()
    attachments: tuple[Form, ...] = ()
    """Forms of the report that go along."""
    link: str = ""
    """Where the whole report can be read."""
    charts: bool = True
    """Whether what stands out is drawn, at most three times."""
    date: AwareDatetime | None = None
    """When the message was first meant to go; without it there is no `Date`, which whoever sends it has to add."""
