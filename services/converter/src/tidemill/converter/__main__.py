"""`python -m tidemill.converter`."""

from tidemill.converter.main import run

run()
