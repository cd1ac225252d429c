"""A folder with a file for each password, as containers are given them."""

from collections.abc import Sequence
from pathlib import Path

from tidemill.cli.running import fail


def passwords(folder: Path, prefix: str, users: Sequence[str], *, make: bool) -> dict[str, str]:
    """User to password, from the files `<prefix>-<user>`; `make` makes those that are missing."""
    found = {}
    for user in users:
        file = folder / f"{prefix}-{user}"
        if make and not file.exists():
            write_secret(file, _new_password())
        try:
            found[user] = file.read_text().strip()
        except FileNotFoundError:
            fail(f"{file} is missing: it holds the password of {user}; --make makes those that are missing")
        if not found[user]:
            fail(f"{file} is empty")
    return found


def _new_password() -> str:
    """Without signs that an address or a shell reads."""
    import secrets

    return secrets.token_hex(24)


def write_secret(file: Path, text: str) -> None:
    """For its owner alone, from the first moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
