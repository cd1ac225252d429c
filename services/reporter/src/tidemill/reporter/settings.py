"""What an operator may change about the reporter; read by main alone."""

from tidemill.common.config.settings import Settings


class ReporterSettings(Settings):
    """The reporter."""
