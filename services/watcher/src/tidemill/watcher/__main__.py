"""`python -m tidemill.watcher`."""

from tidemill.watcher.main import run

run()
