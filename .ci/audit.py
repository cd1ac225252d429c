"""Judges what pip-audit says of requirements.lock: a known hole ends CI, a database that cannot be reached is told."""

import json
import sys
from typing import Any


def verdict(said: dict[str, Any]) -> tuple[int, str]:
    dependencies = said["dependencies"]
    looked = [each for each in dependencies if "skip_reason" not in each]
    holes = [
        f"{each['name']} {each['version']}: {hole['id']}, mended in {' or '.join(hole['fix_versions']) or 'no release'}"
        for each in looked
        for hole in each["vulns"]
    ]
    if holes:
        return 1, "\n".join(["Known holes in what we depend on:", *holes])
    if not looked:
        return 0, f"No database of holes can be reached: none of {len(dependencies)} dependencies was looked at."
    return 0, f"{len(looked)} of {len(dependencies)} dependencies have no known hole."


if __name__ == "__main__":
    said = sys.stdin.read()
    status, sentence = verdict(json.loads(said)) if said else (0, "pip-audit said nothing: nobody looked for holes.")
    print(sentence)
    sys.exit(status)
