"""`python -m tidemill.scheduler`."""

from tidemill.scheduler.main import run

run()
