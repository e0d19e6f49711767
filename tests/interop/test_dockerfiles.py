"""Dockerfiles built by ``docker build`` (BuildKit) and by ``sampan build``: the images must be the same.

Those of ours are in ``dockerfiles/``, and find one directory of odd files as their context; a line "# build: OPTIONS"
gives options. Where docker 20.10 does not know what a file uses, NAME.docker says the same in older words, and layers
and history are not compared. Those of others come with imagebuilder, from a Debian package.

What may differ, and why, is in ``differences.toml``.
"""

import io
import re
import shutil
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import commands
import kitchens
import peers as engines
from kitchens import Kitchen, Recipe, Served

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.interop,
    pytest.mark.needs("dockerd", "docker", "busybox"),
]
OWN = Path(__file__).parent / "dockerfiles"
OWN_NAMES = sorted(path.stem for path in OWN.glob("*.Dockerfile"))
REFUSED_NAMES = sorted(path.stem for path in OWN.glob("*.refused"))
FOREIGN = Path("/usr/share/gocode/src/github.com/openshift/imagebuilder/dockerclient/testdata")
FOREIGN_OPTIONS = {
    "Dockerfile.args": ("--build-arg", "BAR=first"),
    "multistage/Dockerfile.arg-scope": ("--build-arg", "SECRET=a", "--build-arg", "FOO=b"),
}
FOREIGN_REFUSED = {
    "Dockerfile.badhealthcheck",
    "Dockerfile.unknown",
    "multistage/Dockerfile.relative-copy_1",  # imagebuilder takes the directory of a stage for the root of its files
    "multistage/Dockerfile.relative-copy_2",
}
FOREIGN_LEFT_OUT = {
    "Dockerfile.add": "fetches from github.com",
    "Dockerfile.mount": "wants a mount that only imagebuilder has",
}
ARCHIVED = {
    "Dockerfile": b"FROM busybox\nCOPY . /all/\nCOPY dir no/parent d/\nCOPY --chown=bob closed /c\nADD archive.tar .\n",
    ".dockerignore": b"**/*.md\n!dir/b.md\nDockerfile\n",
    "no/parent": b"a directory that the archive does not mention",
}
DIFFERENCES = tomllib.loads((Path(__file__).parent / "differences.toml").read_text())


def foreign_dockerfiles() -> list[str]:
    found = {str(path.relative_to(FOREIGN)) for path in FOREIGN.rglob("Dockerfile*") if path.is_file()}
    return sorted(found - FOREIGN_REFUSED - {*FOREIGN_LEFT_OUT}) or ["Dockerfile.args"]


@pytest.fixture(scope="module")
def kitchen() -> Iterator[Kitchen]:
    root = commands.new_store()
    place = Path("/var/tmp") / root.name  # /dev/shm is the sandbox's own
    place.mkdir()
    try:
        with engines.sandboxed(place, docker=True) as peers:
            yield Kitchen(peers)
    finally:
        shutil.rmtree(place)
        commands.remove_store(root)


def unexpected(name: str, found: list[str]) -> list[str]:
    """What differs without a reason, and reasons for what does not differ."""
    patterns = [*DIFFERENCES.get("everywhere", {}), *DIFFERENCES.get(name, {})]
    left = [line for line in found if not any(re.match(pattern, line) for pattern in patterns)]
    own = DIFFERENCES.get(name, {})
    return left + [f"no longer differs: {p}" for p in own if not any(re.match(p, line) for line in found)]


def foreign(name: str) -> Recipe:
    dockerfile = FOREIGN / name
    if not dockerfile.exists():
        pytest.skip("not installed: golang-github-openshift-imagebuilder-dev")
    return Recipe(dockerfile, dockerfile, dockerfile.parent, FOREIGN_OPTIONS.get(name, ()))


def refuse(kitchen: Kitchen, recipe: Recipe) -> None:
    theirs, ours = kitchen.build(recipe)
    assert theirs.code, theirs.said
    assert ours.code, ours.said
    assert "internal error" not in ours.said


def compare(kitchen: Kitchen, name: str, recipe: Recipe) -> None:
    expect_likeness(kitchen, name, *kitchen.build(recipe), history=recipe.same)


def expect_likeness(kitchen: Kitchen, name: str, theirs: Served, ours: Served, *, history: bool = True) -> None:
    assert theirs.code == 0, theirs.said
    refused = (
        [f"refused: {line}" for line in ours.said.splitlines() if line.startswith("sampan: ")] if ours.code else []
    )
    assert not ours.code or refused, ours.said
    found = unexpected(name, refused or kitchen.differences(history=history))
    assert not found, "docker | sampan\n" + "\n".join(found)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_own(kitchen: Kitchen, name: str) -> None:
    ours, twin = OWN / f"{name}.Dockerfile", OWN / f"{name}.docker"
    options = kitchens.options(ours, kitchen.directory)
    compare(kitchen, name, Recipe(twin if twin.exists() else ours, ours, kitchen.context, options))


@pytest.mark.parametrize("name", foreign_dockerfiles())
def test_foreign(kitchen: Kitchen, name: str) -> None:
    compare(kitchen, name, foreign(name))


@pytest.mark.parametrize("way", ["input", "url"])
def test_an_archive_as_the_context(kitchen: Kitchen, way: str) -> None:
    file = kitchen.context / "context.tar"
    try:
        with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
            for name in ("dir", "closed", "script", "hard1", "hard2", "link", "archive.tar"):
                archive.add(kitchen.context / name, name)
            for name, content in ARCHIVED.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        url = f"http://{kitchens.HTTP}/{file.name}"
        built = kitchen.build_input(file) if way == "input" else kitchen.build_url(url)
    finally:
        file.unlink()
    expect_likeness(kitchen, "an archive", *built)


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_own_refused(kitchen: Kitchen, name: str) -> None:
    dockerfile = OWN / f"{name}.refused"
    refuse(kitchen, Recipe(dockerfile, dockerfile, kitchen.context))


@pytest.mark.parametrize("name", sorted(FOREIGN_REFUSED))
def test_foreign_refused(kitchen: Kitchen, name: str) -> None:
    refuse(kitchen, foreign(name))
