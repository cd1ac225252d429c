"""`python -m tidemill.reporter`."""

from tidemill.reporter.main import run

run()
