"""What happens to a file afterwards: it stays, moves to a folder of ours, or goes."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from tidemill.watcher.policy import DUPLICATES, FAILED, PROCESSED, Refused
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
    return _move(path, root / FOLDER_OF[outcome] / path.relative_to(root))


def write_reason(moved: Path, refused: Refused, at: datetime) -> None:
    """Say beside a refused file why, for the person who finds it there."""
    note = {"file": moved.name, "reason": refused.reason, "detail": refused.detail, "at": at.isoformat()}
    moved.with_name(f"{moved.name}.reason.json").write_text(
        json.dumps(note, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )


def _move(path: Path, target: Path) -> Path | None:
    target.parent.mkdir(parents=True, exist_ok=True)
    place = _free_place(target)
    try:
        path.replace(place)
    except FileNotFoundError:
        # A replica was faster.
        place.unlink()
        return None
    return place


def _free_place(target: Path) -> Path:
    """Reserve a name beside the ones that are taken: `a.pdf`, `a~2.pdf`, …"""
    number = 1
    while True:
        place = target if number == 1 else target.with_name(f"{target.stem}~{number}{target.suffix}")
        try:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            number += 1
        else:
            return place
