from pathlib import Path

from tidemill.common.config import Sources, load_sources
from tidemill.common.config.configured import KEPT, Configured


def sources(folder: Path, version: int, url: str = "https://paper.example/a") -> Sources:
    file = folder / "paper.yaml"
    file.write_text(f"source: paper\npoliteness: {{rate: {version + 1}/s}}\ndownload: {{url: {url}}}\n")
    return load_sources(folder, version=version)


async def test_runs_that_are_under_way_keep_the_version_they_began_with(tmp_path: Path) -> None:
    configured = Configured(sources(tmp_path, 1))
    await configured.take(sources(tmp_path, 2, "https://paper.example/b"))
    for version, url in ((1, "a"), (2, "b"), (7, "b")):
        source = configured.source("paper", version)
        assert source is not None
        assert source.download is not None
        assert source.download.url == f"https://paper.example/{url}"
    assert configured.source("other", 1) is None


async def test_hosts_are_asked_as_the_newest_version_says(tmp_path: Path) -> None:
    configured = Configured(sources(tmp_path, 1))
    await configured.take(sources(tmp_path, 2))
    assert configured.politeness("paper").rate == "3/s"
    assert configured.politeness("other").rate == "1/s"


async def test_old_versions_are_forgotten(tmp_path: Path) -> None:
    configured = Configured(sources(tmp_path, 1, "https://paper.example/first"))
    for version in range(2, KEPT + 2):
        await configured.take(sources(tmp_path, version))
    source = configured.source("paper", 1)
    assert source is not None
    assert source == configured.newest["paper"]
