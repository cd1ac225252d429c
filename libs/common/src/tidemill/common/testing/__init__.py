"""What tests of every member share: real servers, and the material beside the repository."""

import os
from pathlib import Path


def shared_data() -> Path | None:
    """The folder with real documents: `TIDEMILL_TEST_DATA`, or `shared/data` beside the repository. Tests that need
    it skip where it is missing; no product code reads it."""
    named = os.environ.get("TIDEMILL_TEST_DATA")
    if named:
        return Path(named)
    for parent in Path(__file__).resolve().parents:
        if (parent / "requirements.lock").is_file():
            beside = parent.parent / "shared" / "data"
            return beside if beside.is_dir() else None
    return None
