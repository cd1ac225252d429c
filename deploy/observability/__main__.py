"""Write every dashboard beside this module; `--check` says whether they are current."""

import json
import sys
from pathlib import Path

from deploy.observability.dashboards import DASHBOARDS
from deploy.observability.panels import json_of

FOLDER = Path(__file__).parent / "grafana" / "dashboards"


def rendered() -> dict[str, str]:
    return {
        f"{dashboard.uid}.json": json.dumps(json_of(dashboard, DASHBOARDS), indent=1, ensure_ascii=False) + "\n"
        for dashboard in DASHBOARDS
    }


def outdated() -> list[str]:
    """Files that are missing, otherwise, or too many."""
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    wanted = rendered()
    return sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit("\n".join(f"{name} is not current: python -m deploy.observability" for name in outdated()))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
