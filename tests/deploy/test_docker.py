"""The Dockerfiles: parsed by Docker's own parser, pinned, multi-stage, not root, built from files that exist."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

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
    """Both images take exactly the files listed, all that yoloscope and Apprise need, within what it allows."""
    pinned = {name: version for name, version, _ in _listed()}
    project = _project()
    builds = {canonicalize_name(Requirement(one).name) for one in project["build-system"]["requires"]}
    assert pinned.keys() == {*_needed("yoloscope"), "apprise", *_needed("apprise"), *builds}
    for requirement in map(Requirement, project["project"]["dependencies"]):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement
    (command,) = _values(path, "RUN")[0]
    installs = re.findall(r"pip install ([^&]*)", command)
    assert "--require-hashes -r constraints.txt" in installs[0]
    assert "--no-deps --no-build-isolation" in installs[1]  # nothing more is fetched for ourselves
    assert "pip check" in command


def test_each_file_has_its_hash() -> None:
    """Of one that is compiled, for both architectures at least; what is listed twice would be refused."""
    listed = _listed()
    assert len({name for name, _, _ in listed}) == len(listed) > 20
    for name, version, hashes in listed:
        assert hashes, f"{name}=={version} has no hash: make pins"
        assert len(hashes) == len(set(hashes))
        wheel = metadata.distribution(name).read_text("WHEEL") or ""
        compiled = "Root-Is-Purelib: false" in wheel and "-none-any" not in wheel
        assert len(hashes) >= (2 if compiled else 1), f"{name}=={version} lacks an architecture: make pins"


def test_dependencies_are_few_and_bounded() -> None:
    """Of those that everybody installs: a number above which nothing was tried."""
    project = _project()["project"]
    needed, optional = project["dependencies"], project["optional-dependencies"]
    assert len(needed) <= 12
    for requirement in map(Requirement, [*needed, *optional["notify"], *optional["train"], *optional["notebook"]]):
        operators = {one.operator for one in requirement.specifier}
        assert operators == {">=", "<"}, f"{requirement} has no bound"


def _project() -> dict[str, Any]:
    """What pyproject.toml says; what is installed may be older."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))


def _listed() -> list[tuple[str, str, list[str]]]:
    """Name, version and hashes of each package in constraints.txt, and nothing else in it."""
    text = (ROOT / "deploy/docker/constraints.txt").read_text(encoding="utf-8")
    blocks = re.sub(r"(?m)^#.*\n", "", text).replace(" \\\n", "").splitlines()
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)((?: +--hash=sha256:[0-9a-f]{64})*)", block) for block in blocks]
    assert all(found), [block for block, one in zip(blocks, found, strict=True) if one is None]
    return [(canonicalize_name(one[1]), one[2], re.findall(r"sha256:(\w+)", one[3])) for one in found if one]


def test_python_packages_are_pinned() -> None:
    """Whoever builds the training image next year gets the same PyTorch and Ultralytics."""
    arguments = [value[0] for value in _values(ROOT / "deploy/docker/training.Dockerfile", "ARG")]
    assert len(arguments) == 3
    assert all(re.fullmatch(r"\w+=\d+\.\d+\.\d+", argument) for argument in arguments)
