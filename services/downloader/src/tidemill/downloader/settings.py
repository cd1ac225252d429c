"""What an operator may change about the downloader; read by main alone."""

from typing import Annotated

from pydantic import Field

from tidemill.common.config.settings import Settings


class DownloaderSettings(Settings):
    """The downloader. What is downloaded, and how politely, belongs to the source files."""

    parallel: Annotated[int, Field(ge=1, le=256)] = 16
    """Files that are downloaded at the same time by one process, from all hosts together."""
