"""The demo: a web site on this machine, and a source that asks it by itself."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tidemill.cli import demo_site
from tidemill.common.config import load_config, load_sources
from tidemill.common.servers import free_port

ISSUE_SITE = Path(__file__).parents[3] / "examples" / "issue-site"


@pytest.fixture
def config(tmp_path: Path) -> Any:
    (tmp_path / "sources").mkdir()
    return load_config(tmp_path, services={}, environ={})


def sites(config: Any) -> list[demo_site.DemoSite]:
    return demo_site.find_sites(config, load_sources(config.common.sources_dir))


def issue_site(config: Any) -> demo_site.DemoSite:
    (found,) = (site for site in sites(config) if isinstance(site, demo_site.IssueSite))
    return found


def test_the_source_comes_with_a_port_that_is_free_and_keeps_it(config: Any) -> None:
    demo_site.provide_sources(config)
    site = issue_site(config)
    with site:
        assert b"1 of 4 issues are out" in urlopen(site.url).read()
    demo_site.provide_sources(config)
    assert issue_site(config).port == site.port


def test_a_port_that_somebody_took_is_changed_and_a_file_of_another_make_is_left_alone(config: Any) -> None:
    demo_site.provide_sources(config)
    file = config.common.sources_dir / "szerencsemix-demo.yaml"
    first = issue_site(config)
    with first:
        demo_site.provide_sources(config)
        assert issue_site(config).port != first.port
    file.write_text("source: szerencsemix-demo\n")
    demo_site.provide_sources(config)
    assert file.read_text() == "source: szerencsemix-demo\n"
    assert not any(isinstance(site, demo_site.IssueSite) for site in sites(config))


def test_the_sources_of_the_listing_site_share_its_port_and_come_where_what_they_need_is_installed(
    config: Any,
) -> None:
    def provided(*cannot: str) -> list[str]:
        demo_site.provide_sources(config, lambda source: not any(word in source for word in cannot))
        return sorted(file.stem for file in config.common.sources_dir.glob("listings-*.yaml"))

    assert provided("with: listings", "browser: true") == []
    assert provided("browser: true") == ["listings-demo", "listings-demo-api"]
    assert provided() == ["listings-demo", "listings-demo-api", "listings-demo-app"]
    assert demo_site.can_run("convert:\n  with: json\n")
    assert not demo_site.can_run("convert:\n  with: nothing-that-is-installed\n")
    loaded = load_sources(config.common.sources_dir)
    (site,) = (each for each in demo_site.find_sites(config, loaded) if isinstance(each, demo_site.ListingSite))
    hosts = {host for name in site.sources for host in loaded[name].politeness.allow_private}
    assert hosts == {f"127.0.0.1:{site.port}"}
    with site:
        assert json.load(urlopen(f"{site.url}_/day"))["day"] == 0
        demo_site.provide_sources(config)
        assert all(f":{site.port}/" not in file.read_text() for file in config.common.sources_dir.glob("listings-*"))


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_shows_runs_by_itself_and_its_next_day_odds_that_moved_and_a_report(place: Any, eventually: Any) -> None:
    port = free_port()
    bundled = (ISSUE_SITE / "szerencsemix-demo.yaml").read_text(encoding="utf-8")
    (place.folder / "sources").mkdir()
    hasty = bundled.replace("127.0.0.1:8765", f"127.0.0.1:{port}").replace("{every: 1m}", "{every: 2s}")
    (place.folder / "sources" / "szerencsemix-demo.yaml").write_text(hasty, encoding="utf-8")
    up = place.begin_up()
    up.wait_for(f"issue site           http://127.0.0.1:{port}/", within=60)

    def runs() -> list[dict[str, Any]]:
        status, output = place.run("runs", "list", "--source", "szerencsemix-demo", "-o", "json")
        assert status == 0, output
        return list(json.loads(output))

    def count(**counts: int) -> int:
        return sum(run["state"] == "complete" and counts.items() <= run.items() for run in runs())

    advance = place.begin("demo", "advance")
    output, _ = advance.communicate(timeout=200)
    assert advance.returncode == 0, output
    assert "issue site: szerencsemix-2025-58.pdf is out\n" in output
    assert "listing site" not in output  # It has no source here.
    eventually(lambda: count(new=1) == 2 and count(unchanged=1), within=60)
    (report,) = re.findall(r"data/reports/\S+\.json", output)
    told = json.loads((place.folder / report).read_text())
    assert told["as_of"] and [one["new"] for one in told["changes"]] == [2]
    assert {file.suffix for file in (place.folder / report).parent.iterdir()} == {
        *(".json", ".html", ".pdf", ".xlsx", ".zip", ".eml")
    }
    status, output = place.here("records", "football.market", "--history", "--key", "10481:kapa:lahti")
    assert status == 0
    assert re.search(r"away 1\.8,.*\n.*away 1\.86,", output)
    assert up.end() == 0
