"""`python -m tidemill.alerter`."""

from tidemill.alerter.main import run

run()
