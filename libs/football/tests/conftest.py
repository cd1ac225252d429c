"""Tests print their own issues, with the generator of the sample."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).parents[3] / "examples" / "szerencsemix"
sys.path[:0] = [str(SAMPLE), str(Path(__file__).parent / "support")]


@pytest.fixture(scope="session")
def truth() -> dict[str, Any]:
    """What the sample issue says."""
    return json.loads((SAMPLE / "sample.truth.json").read_text("utf-8"))
