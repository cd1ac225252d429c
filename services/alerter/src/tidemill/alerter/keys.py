"""Short names for sets of labels."""

import hashlib
import json
from collections.abc import Mapping


def digest(labels: Mapping[str, str]) -> str:
    """The same for the same labels, in any order."""
    written = json.dumps(sorted(labels.items()), ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()[:16]
