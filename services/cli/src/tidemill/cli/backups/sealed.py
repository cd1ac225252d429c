"""Files of a backup: hashed while they are written, and encrypted where somebody is named who may read them."""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from pydantic import BaseModel

from tidemill.cli.backups.errors import BackupDamaged, BackupFailed
from tidemill.common.config.references import IDENTITY

SLICE = 1 << 20


class Kept(BaseModel):
    """A file as it lies in a backup, encrypted or not."""

    bytes: int
    sha256: str


class Sink(Protocol):
    def write(self, piece: bytes, /) -> object: ...


class Hashed:
    """Passes on what is written, and knows its size and hash."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self._bytes = 0

    def write(self, piece: bytes) -> int:
        self._sink.write(piece)
        self._hash.update(piece)
        self._bytes += len(piece)
        return len(piece)

    def flush(self) -> None:
        """age asks for it; what is below is flushed when it is closed."""

    @property
    def kept(self) -> Kept:
        return Kept(bytes=self._bytes, sha256=self._hash.hexdigest())


@dataclass(frozen=True)
class Seal:
    """Who may read a backup: the holders of the secret keys of these age recipients; without any, whoever has the
    folder."""

    recipients: Sequence[str] = ()
    _keys: list[Any] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises BackupFailed for what is no recipient."""
        import pyrage

        for each in self.recipients:
            try:
                self._keys.append(pyrage.x25519.Recipient.from_str(each.strip()))
            except pyrage.RecipientError as wrong:
                raise BackupFailed(
                    f"{each!r} is no age recipient (age1…, as `age-keygen` prints it): {wrong}"
                ) from None

    @property
    def suffix(self) -> str:
        return ".age" if self.recipients else ""

    def write(self, source: IO[bytes], target: Path) -> Kept:
        """Everything that can be read, into a file that appears when it is complete."""
        part = target.with_name(f".{target.name}.part")
        with part.open("wb") as file:
            hashed = Hashed(file)
            if self.recipients:
                import pyrage

                pyrage.encrypt_io(source, hashed, self._keys)
            else:
                shutil.copyfileobj(source, hashed, SLICE)
        part.chmod(0o600)
        part.replace(target)
        return hashed.kept


def unseal(path: Path, sink: Sink, identities: Iterable[Any]) -> None:
    """Write what a file holds to `sink`; it is encrypted where its name says so. Raises BackupDamaged."""
    import pyrage

    try:
        with path.open("rb") as file:
            if path.suffix == ".age":
                keys = list(identities)
                if not keys:
                    raise BackupDamaged(f"{path} is encrypted: name the age key, or its file, in {IDENTITY}")
                pyrage.decrypt_io(file, Hashed(sink), keys)
            else:
                shutil.copyfileobj(file, sink, SLICE)
    except FileNotFoundError:
        raise BackupDamaged(f"{path} is missing") from None
    except pyrage.DecryptError as refused:
        raise BackupDamaged(f"{path} cannot be decrypted with this key: {refused}") from None


def check(path: Path, kept: Kept) -> None:
    """Raises BackupDamaged where a file is not as it was written."""
    nowhere = Hashed(_Nowhere())
    try:
        if path.stat().st_size != kept.bytes:
            raise BackupDamaged(f"{path} has {path.stat().st_size} bytes instead of {kept.bytes}")
        with path.open("rb") as file:
            shutil.copyfileobj(file, nowhere, SLICE)
    except OSError as error:
        raise BackupDamaged(f"{path} cannot be read: {error.strerror}") from None
    if nowhere.kept != kept:
        raise BackupDamaged(f"{path} has the hash {nowhere.kept.sha256} instead of {kept.sha256}")


class _Nowhere:
    def write(self, piece: bytes) -> None:
        pass
