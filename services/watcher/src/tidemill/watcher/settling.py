"""What happens to a file afterwards: it stays, moves to a folder of ours, or goes."""

import json
import os
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Literal

from tidemill.watcher.policy import DUPLICATES, FAILED, PROCESSED, Refused, printable
from tidemill.watcher.stillness import Look

After = Literal["leave", "move", "delete"]

FOLDER_OF = {"stored": PROCESSED, "known": PROCESSED, "duplicate": DUPLICATES, "refused": FAILED}


def settle_file(root: Path, path: Path, look: Look, after: After, outcome: str) -> Path | None:
    """Move or delete a file that was taken and return where it is now; None when it is gone.

    Does nothing to a file that is another one by now. A refused file is never deleted. Doing it twice is harmless.
    """
    try:
        unchanged = Look.of(path.lstat()) == look
    except FileNotFoundError:
        return None
    if not unchanged or after == "leave":
        return path
    if after == "delete" and outcome != "refused":
        path.unlink(missing_ok=True)
        return None
    return move_beside(path, root / FOLDER_OF[outcome] / path.relative_to(root))


def write_reason(moved: Path, refused: Refused, at: datetime) -> None:
    """Say beside a refused file why, for the person who finds it there."""
    note = {"file": printable(moved.name), "reason": refused.reason, "detail": refused.detail, "at": at.isoformat()}
    moved.with_name(f"{moved.name}.reason.json").write_text(
        json.dumps(note, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )


def move_beside(path: Path, target: Path, link: Callable[..., None] = os.link) -> Path | None:
    """Under the first free name, `a.pdf`, `a~2.pdf`, …; None when a replica was faster."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        place = target if number == 1 else target.with_name(f"{target.stem}~{number}{target.suffix}")
        try:
            _move_to_free(path, place, link)
        except FileExistsError:
            if _same_file(path, place):
                # A replica, or a process that then died, has linked it and not yet unlinked.
                path.unlink(missing_ok=True)
                return place
        except FileNotFoundError:
            return None
        else:
            return place
    raise AssertionError  # There is always a next number.


def _move_to_free(path: Path, place: Path, link: Callable[..., None]) -> None:
    """Raises FileExistsError where the name is taken: a rename would overwrite."""
    try:
        link(path, place, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        # No hard links on this file system (FAT, some network shares), or not for files of others.
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            path.replace(place)
        except FileNotFoundError:
            place.unlink()
            raise
    else:
        path.unlink(missing_ok=True)


def _same_file(path: Path, place: Path) -> bool:
    try:
        return os.path.samestat(path.lstat(), place.lstat())
    except FileNotFoundError:
        return False
