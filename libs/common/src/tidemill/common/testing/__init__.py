"""What tests of every member share: real servers, and the material beside the repository."""

import os
import re
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


def new_environment() -> dict[str, str]:
    """For the processes of a system of its own: this one's environment without addresses and settings of Tidemill.
    They listen on loopback in a container, too."""
    ours = re.compile(r"TIDEMILL_.*|(NATS|DATABASE|REDIS|ARCHIVE)_URL")
    kept = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
    return kept | {"TIDEMILL_RUNS_IN": "machine"}
