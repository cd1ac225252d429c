"""One download in a process of its own, to be killed: `python http_download_worker.py URL PATH`."""

import asyncio
import resource
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tidemill.common.config.politeness import Politeness
from tidemill.common.http import Downloaded, download
from tidemill.common.testing.hostile import polite_client


async def bring(url: str, path: Path) -> None:
    politeness = Politeness(rate="100/s", allow_private=(urlsplit(url).netloc,))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with polite_client() as client:
        done = await download(client, url, path, source="s", politeness=politeness, max_size=1 << 30)
    assert isinstance(done, Downloaded)
    print(done.sha256, done.resumed_from, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    asyncio.run(bring(sys.argv[1], Path(sys.argv[2])))
