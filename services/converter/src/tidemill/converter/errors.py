"""The ways a conversion fails for good, or for now. A document that is refused is no failure: it has an outcome."""

from tidemill.common.bus.step import Poison, Unavailable


class UnknownSource(Exception):
    """A document of a source that no source file describes. Who stored it may have heard of a new one before us, so it
    is tried again."""


class RouteChanged(Unavailable):
    """The source's file changed between two steps of the same conversion: it begins again by the new one."""


class UnusableConverter(Poison):
    """The source file names a converter that is not installed, not for this version, or refuses its options."""


class LostContent(Poison):
    """The archive does not hold the document's bytes."""


class NoDigest(Poison):
    """What the event calls the document's SHA-256 is none."""


class NoWorker(Unavailable):
    """A worker process was ended from outside, or cannot be started."""


class NamesUnavailable(Unavailable):
    """Postgres cannot be asked what is known of names."""
