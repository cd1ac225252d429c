"""A process that shows a page in a browser until it is killed."""

import asyncio
import sys

from tidemill.common.config.sources import SourceFile
from tidemill.common.http import Usage
from tidemill.common.testing.hostile import polite_client
from tidemill.scraper.fetch import PoliteFetch


async def main(source: str, url: str) -> None:
    async with polite_client() as client:
        await PoliteFetch(client).page(SourceFile.model_validate_json(source), url, Usage())


asyncio.run(main(sys.argv[1], sys.argv[2]))
