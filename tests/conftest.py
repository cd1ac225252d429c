"""What only the tests of more than one service need."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the kill tests in their long form")
    parser.addoption("--seed", type=int, default=None, help="of the kills; every run prints its own")


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))
