"""`python -m tidemill.downloader`."""

from tidemill.downloader.main import run

run()
