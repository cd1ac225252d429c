"""`make release`: what a release is made of, in dist/: wheels, the bill of materials, the contracts, and the chart."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "tidemill"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: *; *([^\\]+?))? *\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def main(uv: str, dist: Path = ROOT / "dist") -> None:
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir()
    wheels(uv, dist)
    (dist / "tidemill.cdx.json").write_text(json.dumps(bill_of_materials(), indent=1) + "\n")
    contracts(dist)
    chart(dist)
    files = sorted(path for path in dist.iterdir() if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (dist / "SHA256SUMS").write_text("".join(sums))
    print(f"{len(files)} files in {dist}, each in SHA256SUMS")


def wheels(uv: str, dist: Path) -> None:
    """Of every member of the workspace."""
    command = [uv, "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(dist)]
    subprocess.run(command, cwd=ROOT, check=True)
    (dist / ".gitignore").unlink(missing_ok=True)
    built = len(list(dist.glob("*.whl")))
    wanted = len(members())
    if built != wanted:
        raise SystemExit(f"{built} wheels of {wanted} members")


def members() -> list[dict[str, Any]]:
    files = sorted([*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")])
    return [dict(tomllib.loads(file.read_text())["project"]) for file in files]


def bill_of_materials() -> dict[str, Any]:
    """CycloneDX 1.6: our members, and every package of requirements.lock with its hashes."""
    ours = [
        {
            "type": "application",
            "bom-ref": f"pkg:pypi/{each['name']}@{each['version']}",
            "name": each["name"],
            "version": each["version"],
            "purl": f"pkg:pypi/{each['name']}@{each['version']}",
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }
        for each in members()
    ]
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(lock.encode()).hexdigest())
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "tidemill",
                "name": "tidemill",
                "version": project["version"],
            }
        },
        "components": [*ours, *locked(lock)],
    }


def locked(text: str) -> Iterator[dict[str, Any]]:
    """One component for each pinned package; a distribution of it is whatever has one of its hashes."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if "==" in line and not line.startswith((" ", "#"))]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        match = _PINNED.match(lines[start])
        if match is None:
            raise SystemExit(f"requirements.lock, line {start + 1} is not understood: {lines[start]}")
        name, version, marker = match.groups()
        purl = f"pkg:pypi/{name.lower()}@{version}"
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"{purl}#{start}",
            "name": name,
            "version": version,
            "purl": purl,
            "externalReferences": [
                {
                    "type": "distribution",
                    "url": f"https://pypi.org/project/{name}/{version}/",
                    "hashes": [
                        {"alg": "SHA-256", "content": found}
                        for line in lines[start:end]
                        for found in _HASH.findall(line)
                    ],
                }
            ],
        }
        if marker:
            component["properties"] = [{"name": "python:marker", "value": marker}]
        yield component


def contracts(dist: Path) -> None:
    """The events as protoc's descriptor set, which any language's tools read, and AsyncAPI's."""
    sys.path.insert(0, str(ROOT / "proto-schemas"))
    from contracts import compile_protos  # type: ignore[import-not-found]  # No package: it is a script.

    (dist / "tidemill-events.binpb").write_bytes(compile_protos().SerializeToString(deterministic=True))
    shutil.copy(ROOT / "docs" / "asyncapi.json", dist / "tidemill-events.asyncapi.json")


def chart(dist: Path) -> None:
    helm = shutil.which("helm")
    if helm is None or not CHART.is_dir():
        print("no chart in it: " + ("no helm on PATH" if helm is None else f"no {CHART}"))
        return
    subprocess.run([helm, "package", str(CHART), "--destination", str(dist)], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
