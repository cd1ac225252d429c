"""`--long` runs the chaos tests at full length: `make chaos`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="at least 40 kills and 30 seconds of older streams")
    parser.addoption("--seed", type=int, default=None, help="of the kills; printed by every run")
