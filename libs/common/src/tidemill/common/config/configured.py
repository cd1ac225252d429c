"""The sources, as the versions of the configuration say them that runs were begun with."""

from tidemill.common.config import Sources
from tidemill.common.config.politeness import Politeness
from tidemill.common.config.sources import SourceFile

KEPT = 20
"""Versions that are remembered, for runs that are under way."""


class Configured:
    """The newest sources, and those of some versions before."""

    def __init__(self, sources: Sources) -> None:
        self.newest = sources
        self._by_version = {sources.version: sources}

    async def take(self, sources: Sources) -> None:
        """Another version is the current one."""
        self.newest = sources
        self._by_version[sources.version] = sources
        for version in sorted(self._by_version)[:-KEPT]:
            del self._by_version[version]

    def source(self, name: str, version: int) -> SourceFile | None:
        """As that version says it; as the newest does where it is not remembered, for instance after a restart."""
        return self._by_version.get(version, self.newest).get(name)

    def politeness(self, name: str) -> Politeness:
        """How it asks hosts, whichever run it is for."""
        source = self.newest.get(name)
        return source.politeness if source else Politeness()
