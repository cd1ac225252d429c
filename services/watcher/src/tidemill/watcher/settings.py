"""What an operator may change about the watcher; read by main alone."""

from typing import Annotated

from pydantic import Field

from tidemill.common.config.settings import Settings


class WatcherSettings(Settings):
    """The watcher. Folders and patterns belong to the source files."""

    parallel: Annotated[int, Field(ge=1, le=64)] = 4
    """Files of one source that are read at the same time."""
    create_folders: bool = True
    """Whether watched folders below `data_dir` are created at start. Others never are: they may be mounts."""
