"""Options whose names the data decides: `--city Helsinki`."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.cli.running import fail

TAKES_NAMED = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Context settings of a command that does."""


def read_named(arguments: Sequence[str]) -> dict[str, str]:
    """`["--city", "Helsinki", "--rooms=3"]` by name; what is written otherwise ends the command."""
    found: dict[str, str] = {}
    left = list(arguments)
    while left:
        name, sign, value = left.pop(0).partition("=")
        if not name.startswith("--") or len(name) < 3:
            fail(f"{name} is not understood; conditions are written --name value")
        if not sign:
            if not left or left[0].startswith("--"):
                fail(f"{name} has no value; write {name} value")
            value = left.pop(0)
        found[name.removeprefix("--").replace("-", "_")] = value
    return found
