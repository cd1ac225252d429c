"""No file of the repository holds a secret: what looks like one is found, wherever it stands."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    "age key": re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    "AWS key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60,}"),
    "GitLab token": re.compile(r"\bglpat-[\w-]{20}\b"),
    "PyPI token": re.compile(r"\bpypi-[\w-]{80,}"),
    "Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{20,}|hooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}"),
    "Google key": re.compile(r"\bAIza[\w-]{35}\b"),
    "Stripe key": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{20,}"),
    "JWT": re.compile(r"\beyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}"),
    "bcrypt hash": re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"),
    "nkey seed": re.compile(r"\bS[OAU][A-Z2-7]{56}\b"),
}
LARGEST_BYTES = 5_000_000


def found(files: Iterable[Path]) -> list[str]:
    """Where something looks like a secret, and of which kind; not the secret itself."""
    hits = []
    for file in files:
        if not file.is_file() or file.stat().st_size > LARGEST_BYTES:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        hits += [
            f"{file}:{text.count(chr(10), 0, match.start()) + 1}: {kind}"
            for kind, pattern in KINDS.items()
            for match in pattern.finditer(text)
        ]
    return hits


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no checkout of git: nobody can say which files are published")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_the_repository_holds_no_secret() -> None:
    files = tracked()
    assert len(files) > 500
    assert found(files) == []


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("private key", ("-----BEGIN EC PRIVATE ", "KEY-----\n", "Ab" * 32)),
        ("age key", ("AGE-SECRET-", "KEY-1", "Q" * 58)),
        ("AWS key", ("AKIA", "Q" * 16)),
        ("GitHub token", ("gh", "p_", "a1" * 18)),
        ("GitLab token", ("glpat", "-", "a" * 20)),
        ("PyPI token", ("pypi", "-", "a" * 90)),
        ("Slack token", ("xox", "b-", "1" * 24)),
        ("Slack token", ("https://hooks.slack", ".com/services/T12345678/B12345678/", "a" * 24)),
        ("Google key", ("AI", "za", "a" * 35)),
        ("Stripe key", ("sk_", "live_", "a" * 24)),
        ("JWT", ("ey", "J" + "a" * 24, ".eyJ" + "b" * 24, "." + "c" * 24)),
        ("bcrypt hash", ("$2", "b$11$", "a" * 53)),
        ("nkey seed", ("SU", "A" * 56)),
    ],
)
def test_a_planted_secret_is_found(tmp_path: Path, kind: str, parts: tuple[str, ...]) -> None:
    planted = tmp_path / "settings.py"
    planted.write_text(f'first = 1\nsecret = "{"".join(parts)}"\n')
    assert found([planted]) == [f"{planted}:2: {kind}"]


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ('import subprocess\n\nsubprocess.run("ls " + input(), shell=True)\n', "S602"),
        ('import pickle\n\npickle.loads(b"")\n', "S301"),
        ('import yaml\n\nyaml.load("", Loader=yaml.Loader)\n', "S506"),
        ('PASSWORD = "letmein"\n', "S105"),
        ("import ssl\n\nssl._create_unverified_context()\n", "S323"),
        ('import hashlib\n\nhashlib.md5(b"")\n', "S324"),
    ],
)
def test_the_static_analysis_of_make_check_finds_what_is_planted(code: str, rule: str) -> None:
    """With our own settings, as a module of a service."""
    name = "services/watcher/src/tidemill/watcher/planted.py"
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    done = subprocess.run(
        [*command, "--stdin-filename", name, "-"], cwd=ROOT, input=code, capture_output=True, text=True, check=False
    )
    assert f": {rule} " in done.stdout


def audited(*dependencies: dict[str, object]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "audit.py")]
    said = json.dumps({"dependencies": dependencies, "fixes": []})
    return subprocess.run(command, input=said, capture_output=True, text=True, check=False)


def test_a_known_hole_of_a_dependency_ends_ci_and_a_database_out_of_reach_is_told() -> None:
    hole = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}
    good = {"name": "one", "version": "1.0", "vulns": []}
    bad = {"name": "two", "version": "1.0", "vulns": [hole]}
    unknown = {"name": "three", "skip_reason": "not found"}
    assert (audited(good).returncode, audited(good, bad).returncode, audited(unknown).returncode) == (0, 1, 0)
    assert "two 1.0: PYSEC-1, mended in 2.0" in audited(good, bad).stdout
    assert "none of 1 dependencies was looked at" in audited(unknown).stdout
    assert audited().returncode == 0
