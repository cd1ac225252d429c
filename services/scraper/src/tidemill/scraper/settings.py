"""What an operator may change about the scraper; read by main alone."""

from typing import Annotated

from pydantic import Field

from tidemill.common.config.settings import Settings


class ScraperSettings(Settings):
    """The scraper. What is scraped, and how politely, belongs to the source files."""

    parallel: Annotated[int, Field(ge=1, le=256)] = 16
    """Pages that are asked for at the same time by one process, from all hosts together."""
    headless: bool = True
    """`false` shows the browser's window, to look on; only on one machine with a display."""
