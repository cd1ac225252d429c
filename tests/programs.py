"""Programs of others, which a machine may have or not."""

import shutil

import pytest


def program(name: str) -> str:
    """Where it is; without it the test skips, and says so."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on PATH: .ci/run installs or builds it where its registry can be had")
    return found
