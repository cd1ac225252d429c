"""A rule in Python that ships, and an example of one: the largest of the pictures that a page offers."""

import re

from tidemill.extract.model import Json
from tidemill.extract.page import Part

_CANDIDATE = re.compile(r"(\S+)\s+([0-9.]+)([wx])(?:,|$)")


def largest_image(part: Part) -> list[Json]:
    """The address of the widest candidate of the first `srcset` (of `img` or `source`); no rule of YAML compares."""
    node = None if part.node is None else part.node.css_first("img[srcset], source[srcset]")
    candidates = _CANDIDATE.findall((node.attributes.get("srcset") or "").strip()) if node is not None else []
    if not candidates:
        return []
    return [max(candidates, key=lambda candidate: (candidate[2] == "w", float(candidate[1])))[0]]
