"""What an operator may change about the alerter; read by main alone."""

from tidemill.common.config.settings import Settings


class AlerterSettings(Settings):
    """The alerter."""
