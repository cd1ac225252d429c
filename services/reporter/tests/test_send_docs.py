"""What docs/send-reports.md shows is what there is."""

import re
from pathlib import Path
from typing import get_args

import pytest

from tidemill.common.config import load_config
from tidemill.reporter.deciding import Reason
from tidemill.reporter.main import SPEC
from tidemill.reporter.send_rules import When

PAGE = (Path(__file__).parents[3] / "docs" / "send-reports.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```yaml[^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_example_is_read(tmp_path: Path) -> None:
    (tmp_path / "tidemill.yaml").write_text(EXAMPLE)
    rules = load_config(tmp_path, services={"reporter": SPEC.settings}, environ={}).service("reporter").send
    assert [(rule.report, rule.to, rule.when) for rule in rules] == [
        ("day", ("operators",), "always"),
        ("day", ("chat",), "if_doubtful"),
        ("day", ("operators",), "if_something_changed"),
        ("run", ("warehouse",), "always"),
    ]


@pytest.mark.parametrize("word", [*get_args(When), *filter(None, get_args(Reason))])
def test_every_condition_and_every_reason_is_explained(word: str) -> None:
    assert f"`{word}`" in PAGE
