"""What docs/channels.md shows is what there is: its channels are read, its receiver takes what is sent."""

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.channels.signing import signed_headers
from tidemill.common.config import load_config
from tidemill.common.config.channels import WAYS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "channels.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml[^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(RECEIVER,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_way_has_an_example_and_each_is_read(tmp_path: Path) -> None:
    ways = set()
    for example in EXAMPLES:
        (tmp_path / "tidemill.yaml").write_text(example)
        found = load_config(tmp_path, services={}, environ={}).common.channels
        assert found
        ways |= {channel.way for channel in found.values()}
    assert ways == set(WAYS)


@pytest.mark.parametrize("spoiled", ["", "body", "age", "repeat"])
def test_the_receiver_of_the_page_takes_what_is_genuine_fresh_and_new(spoiled: str) -> None:
    page: dict[str, Any] = {}
    exec(RECEIVER, page)
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    at = datetime(2020, 1, 1, tzinfo=UTC) if spoiled == "age" else datetime.now(UTC)
    headers = {name.lower(): value for name, value in signed_headers("key", at, b"{}", [secret]).items()}
    seen = {"key"} if spoiled == "repeat" else set()
    assert page["check"](headers, b"[]" if spoiled == "body" else b"{}", secret, seen) == (spoiled == "")
