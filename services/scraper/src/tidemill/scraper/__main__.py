"""`python -m tidemill.scraper`."""

from tidemill.scraper.main import run

run()
