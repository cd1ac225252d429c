"""The demo: a web site on this machine, and a source that asks it by itself."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tidemill.cli import demo_site
from tidemill.common.config import load_config, load_sources
from tidemill.common.servers import free_port


@pytest.fixture
def config(tmp_path: Path) -> Any:
    (tmp_path / "sources").mkdir()
    return load_config(tmp_path, services={}, environ={})


def test_the_source_comes_with_a_port_that_is_free_and_keeps_it(config: Any) -> None:
    demo_site.provide_source(config)
    site = demo_site.find_site(config, load_sources(config.common.sources_dir))
    assert site is not None
    with site:
        assert b"1 of 4 issues are out" in urlopen(site.url).read()
    demo_site.provide_source(config)
    again = demo_site.find_site(config, load_sources(config.common.sources_dir))
    assert again is not None
    assert again.port == site.port


def test_a_port_that_somebody_took_is_changed_and_a_file_of_another_make_is_left_alone(config: Any) -> None:
    demo_site.provide_source(config)
    file = config.common.sources_dir / "szerencsemix-demo.yaml"
    first = demo_site.find_site(config, load_sources(config.common.sources_dir))
    assert first is not None
    with first:
        demo_site.provide_source(config)
        other = demo_site.find_site(config, load_sources(config.common.sources_dir))
        assert other is not None
        assert other.port != first.port
    file.write_text("source: szerencsemix-demo\n")
    demo_site.provide_source(config)
    assert file.read_text() == "source: szerencsemix-demo\n"
    assert demo_site.find_site(config, load_sources(config.common.sources_dir)) is None


@pytest.mark.servers
@pytest.mark.slow
def test_it_shows_a_run_by_itself_then_nothing_new_then_odds_that_moved(place: Any, eventually: Any) -> None:
    port = free_port()
    bundled = (demo_site.sample.find() / demo_site.SITE / "szerencsemix-demo.yaml").read_text(encoding="utf-8")
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

    eventually(lambda: count(new=1) and count(unchanged=1), within=60)
    program = demo_site.sample.find() / demo_site.SITE / "serve.py"
    subprocess.run([sys.executable, program, "--publish"], cwd=place.folder, check=True)
    eventually(lambda: count(new=1) == 2, within=60)
    status, output = place.run("records", "football.market", "--history", "--key", "10481:kapa:lahti")
    assert status == 0
    assert re.search(r"away 1\.8,.*\n.*away 1\.86,", output)
    assert up.end() == 0
