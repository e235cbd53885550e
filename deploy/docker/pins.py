"""Writes constraints.txt: what the images install, each file that an index may give for it by its hash.

    python -m deploy.docker.pins                # the same versions, hashes of today's files
    python -m deploy.docker.pins --upgrade      # the newest versions that pyproject.toml allows

Needs a package index: pip resolves for the images' Pythons and both architectures, and downloads nothing it need not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

if sys.version_info < (3, 11):
    raise SystemExit("deploy.docker.pins needs Python 3.11 or newer, which reads TOML")
import tomllib

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONSTRAINTS = HERE / "constraints.txt"
#: Of the two images.
PYTHONS = ("3.12", "3.13")
#: The newest of each that the images' Debian runs, and those before it.
MACHINES = {
    machine: [f"manylinux_2_{minor}_{machine}" for minor in (36, 34, 31, 28, 27, 17)] + [f"manylinux2014_{machine}"]
    for machine in ("x86_64", "aarch64")
}
HEAD = """\
# What the images install of yoloscope's dependencies, and theirs, and what builds it: each by version and by the hashes
# of the files for the images' Pythons on x86-64 and arm64. Written by `make pins`.
"""

Files = dict[str, dict[str, set[str]]]  # by name and version, the hashes


def wanted() -> list[str]:
    """Requirements of the exporter and of the sender of alerts, and what builds the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extra = project["project"]["optional-dependencies"]["notify"]
    return [*project["project"]["dependencies"], *extra, *project["build-system"]["requires"]]


def resolve(requirements: list[str], python: str, machine: str, constraints: list[str]) -> list[tuple[str, str, str]]:
    """Name, version and sha256 of what pip would install there."""
    with tempfile.TemporaryDirectory() as folder:
        limits = Path(folder, "limits.txt")
        limits.write_text("\n".join(constraints), encoding="utf-8")
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
        command += ["--ignore-installed", "--only-binary=:all:", "--target", folder, "--report", str(report)]
        command += ["--constraint", str(limits), "--implementation", "cp", "--python-version", python]
        for tag in MACHINES[machine]:
            command += ["--platform", tag]
        subprocess.run([*command, *requirements], check=True)  # noqa: S603 - what pyproject.toml names
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        (one["metadata"]["name"], one["metadata"]["version"], one["download_info"]["archive_info"]["hashes"]["sha256"])
        for one in found
    ]


def pinned(text: str) -> list[str]:
    """`name==version` of each package in a file of constraints."""
    return re.findall(r"(?m)^([\w.-]+==[^\s\\]+)", text)


def gather(constraints: list[str]) -> Files:
    """What every image on every machine would install: the same versions everywhere."""
    files: Files = defaultdict(lambda: defaultdict(set))
    for python in PYTHONS:
        for machine in MACHINES:
            for name, version, sha256 in resolve(wanted(), python, machine, constraints):
                files[name][version].add(sha256)
            constraints = [f"{name}=={version}" for name, versions in files.items() for version in versions]
    return files


def written(files: Files) -> str:
    """The file."""
    lines = [HEAD]
    for name, versions in sorted(files.items(), key=lambda item: item[0].lower()):
        (version,) = versions
        hashes = sorted(versions[version])
        lines.append(" \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{one}" for one in hashes)]) + "\n")
    return "".join(lines)


def main() -> None:
    """Write the file, and say what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows")
    before = pinned(CONSTRAINTS.read_text(encoding="utf-8"))
    text = written(gather([] if parser.parse_args().upgrade else before))
    CONSTRAINTS.write_text(text, encoding="utf-8")
    print(f"{CONSTRAINTS}: {len(pinned(text))} packages, changed: {', '.join(set(pinned(text)) - set(before)) or '-'}")


if __name__ == "__main__":
    main()
