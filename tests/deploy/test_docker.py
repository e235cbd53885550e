"""The Dockerfiles: parsed by Docker's own parser, pinned, multi-stage, not root, built from files that exist."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import dockerfile
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy/docker").glob("*.Dockerfile"))


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """Each Dockerfile."""
    found: Path = request.param
    return found


def _values(path: Path, command: str) -> list[tuple[str, ...]]:
    return [step.value for step in dockerfile.parse_file(str(path)) if step.cmd.upper() == command]


def test_both_are_here() -> None:
    """One image for the exporter, one example for training."""
    assert [path.stem for path in DOCKERFILES] == ["exporter", "training"]


def test_bases_are_pinned(path: Path) -> None:
    """Two stages, each from an image of a full version."""
    bases = _values(path, "FROM")
    assert len(bases) == 2
    assert all(re.search(r":\d+\.\d+\.\d+-slim", base[0]) for base in bases)


def test_does_not_run_as_root(path: Path) -> None:
    """The last user is a number other than 0, so that Kubernetes' runAsNonRoot can check it."""
    (user,) = _values(path, "USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_copies_files_that_exist(path: Path) -> None:
    """What is copied from the repository is there, and passes the ignore file."""
    ignore = path.with_name(f"{path.name}.dockerignore").read_text(encoding="utf-8").split()
    sources = [
        source
        for step in dockerfile.parse_file(str(path))
        if step.cmd.upper() == "COPY" and not step.flags
        for source in step.value[:-1]
    ]
    assert sources
    for source in sources:
        assert f"!{source}" in ignore
        assert source == "README.md" or (ROOT / source).exists(), source


def _needed(package: str) -> set[str]:
    """What the package needs without extras, and what that needs; none of it needs one another in a circle."""
    found = set()
    for requirement in map(Requirement, metadata.requires(package) or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= {canonicalize_name(requirement.name), *_needed(requirement.name)}
    return found


def test_dependencies_are_pinned(path: Path) -> None:
    """Both images take exactly the versions listed, all that yoloscope and Apprise need, within what it allows."""
    lines = (ROOT / "deploy/docker/constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {canonicalize_name(name) for name in pinned} == {*_needed("yoloscope"), "apprise", *_needed("apprise")}
    for requirement in map(Requirement, metadata.requires("yoloscope") or []):
        if not requirement.marker:
            version = next(
                pinned[name] for name in pinned if canonicalize_name(name) == canonicalize_name(requirement.name)
            )
            assert requirement.specifier.contains(version), requirement
    assert any("--constraint constraints.txt" in value for (value,) in _values(path, "RUN"))


def test_python_packages_are_pinned() -> None:
    """Whoever builds the training image next year gets the same PyTorch and Ultralytics."""
    arguments = [value[0] for value in _values(ROOT / "deploy/docker/training.Dockerfile", "ARG")]
    assert len(arguments) == 3
    assert all(re.fullmatch(r"\w+=\d+\.\d+\.\d+", argument) for argument in arguments)
