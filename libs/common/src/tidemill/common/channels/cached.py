"""The channels as they were last known, on this machine, for when the database does not tell."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tidemill.common.config.channels import Channel, Channels
from tidemill.common.telemetry.logs import get_logger

log = get_logger(__name__)

_CHANNELS: TypeAdapter[dict[str, Channel]] = TypeAdapter(Channels)


class CachedChannels:
    """A file that names secrets and holds none: they are fetched when something is sent."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "channels.json"

    def keep(self, channels: Mapping[str, Channel]) -> None:
        """Raises OSError."""
        written = _CHANNELS.dump_json(dict(channels), by_alias=True, indent=1, context={"as_written": True})
        if self._file.is_file() and self._file.read_bytes() == written:
            return
        write_whole(self._file, written)

    def read(self) -> dict[str, Channel]:
        """Empty where nothing was kept, or nothing that can be read."""
        try:
            return _CHANNELS.validate_json(self._file.read_bytes(), strict=True)
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            log.warning("the kept channels cannot be read", file=str(self._file), error=type(error).__name__)
            return {}


def write_whole(file: Path, content: bytes) -> None:
    """In the place of what was there, all or nothing, also when the power goes. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(written.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
