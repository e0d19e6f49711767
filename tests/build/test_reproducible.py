"""SOURCE_DATE_EPOCH: the same inputs give the same digests, whoever builds, where, when and with what around him."""

import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import commands
import trees
from builders import BUSYBOX, as_system
from sampan.layers.compression import COMPRESSOR

EPOCH = 1_700_000_000
DATE = "2023-11-14T22:13:20Z"
BASE = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nCOPY etc /etc\n'
LINES = f"""{BASE}
ARG SOURCE_DATE_EPOCH
LABEL b=1 a=2
WORKDIR /made/here
COPY --chmod=640 src /src
ADD src.tar /unpacked/
COPY <<f /inline
text
f
RUN echo $SOURCE_DATE_EPOCH > /epoch; umask > /mask; env | sort > /environment; date +%Z > /zone
RUN --mount=type=cache,target=/c mkdir -p /d/e/f && for n in 3 1 2; do echo $n > /d/$n; done
RUN ln /d/1 /d/e/hard && ln -s x /d/l
RUN rm -r /src && mkdir /src && touch -d @1 /src/old
USER 5
"""
SRC: dict[str, trees.Node] = {"a": "a", "d/b": "b", "d/c": trees.File("c", 0o755), "l": trees.Link("d/b")}


class Somewhere:
    """A machine as far as a build can tell: a directory, a user with his store, and an environment."""

    def __init__(self, sampan: commands.Sampan, directory: Path, environment: dict[str, str], umask: int) -> None:
        self._sampan = sampan
        self._directory = directory
        self._environment = environment
        self._umask = umask

    def prepare(self, lines: str, mtime: int, names: list[str], owner: int = 7) -> None:
        """Checks the same files out, in another order and at another time."""
        self._directory.mkdir(parents=True)
        shutil.copy(BUSYBOX, self._directory / "busybox")
        (self._directory / "busybox").chmod(0o755)
        trees.make(self._directory / "etc", {"passwd": "root:x:0:0::/root:/bin/sh\n"})
        trees.make(self._directory / "src", {name: SRC[name] for name in names})
        (self._directory / "Dockerfile").write_text(lines)
        _pack(self._directory / "src.tar", owner)
        for path in (self._directory, *self._directory.rglob("*")):
            os.utime(path, (mtime, mtime), follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(
                    0o755 if path.is_dir() or (os.access(path, os.X_OK) and path.name in ("busybox", "c")) else 0o644
                )

    def build(self, *options: str) -> dict[str, Any]:
        """What the image is: id, manifest and history."""
        self._sampan("build", "-t", "made", "--network=none", *options, self._directory, environment=self._environment,
                     umask=self._umask, cwd="/")  # fmt: skip
        inspected: dict[str, Any] = json.loads(self._sampan("inspect", "made").stdout)[0]
        digest = inspected["Descriptor"]["digest"]
        manifest = json.loads((self._sampan.root / "blobs/sha256" / digest[7:]).read_bytes())
        config = json.loads((self._sampan.root / "blobs/sha256" / inspected["Id"][7:]).read_bytes())
        return {"digest": digest, "id": inspected["Id"], "manifest": manifest, "config": config}


def _pack(path: Path, owner: int) -> None:
    """An archive with a file that is younger than the epoch."""
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("x")
        entry.mtime, entry.uid, entry.size = EPOCH + 99, owner, 1
        archive.addfile(entry, io.BytesIO(b"x"))


def _wheel(directory: Path) -> Path:
    path = directory / "demo-1.0-py3-none-any.whl"
    info = "demo-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("demo.py", "WORDS = frozenset(('a', 'b', 'c'))\ndef say():\n    return 'x' in {'x', 'y'}\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"demo.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.fixture
def here(sampan: commands.Sampan, tmp_path: Path) -> Somewhere:
    return Somewhere(sampan, tmp_path / "one", {"TZ": "UTC", "PYTHONHASHSEED": "1"}, 0o022)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Somewhere]:
    root = commands.new_store()
    environment = {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "2", "LANG": "C", "HOME": "/nowhere", "PIP_CACHE_DIR": "/x"}
    yield Somewhere(commands.Sampan(root), tmp_path / "a/longer path", environment, 0o077)
    commands.remove_store(root)


@as_system
def test_two_machines_make_the_same_image(here: Somewhere, elsewhere: Somewhere) -> None:
    here.prepare(LINES, EPOCH + 1000, ["a", "d/b", "d/c", "l"])
    elsewhere.prepare(LINES, EPOCH + 86_400 * 300, ["l", "d/c", "d/b", "a"])
    one = here.build("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}")
    two = elsewhere.build("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}")
    assert one == two
    assert one["config"]["created"] == DATE
    assert {entry["created"] for entry in one["config"]["history"]} == {DATE}
    assert all(layer["annotations"][COMPRESSOR].startswith("isa-l ") for layer in one["manifest"]["layers"])


@pytest.mark.system
@pytest.mark.needs("busybox")
def test_an_ordinary_user_makes_the_same_image(
    here: Somewhere, rootless_sampan: commands.Sampan, ordinary_user: commands.Account
) -> None:
    if os.geteuid() != 0:
        pytest.skip("the machine gives this test no second user")
    # Without subordinate ids he has but one, in which all owners end up.
    ordinary = Somewhere(rootless_sampan, ordinary_user.home / "context", {"TZ": "Asia/Tokyo"}, 0o077)
    here.prepare(LINES, EPOCH + 1000, ["a", "d/b", "d/c", "l"], owner=0)
    ordinary.prepare(LINES, EPOCH + 5000, ["l", "d/b", "a", "d/c"], owner=0)
    epoch = f"SOURCE_DATE_EPOCH={EPOCH}"
    assert here.build("--build-arg", epoch) == ordinary.build("--build-arg", epoch)


@as_system
def test_the_environment_tells_the_epoch_too(here: Somewhere, elsewhere: Somewhere) -> None:
    here.prepare(LINES, EPOCH + 1, ["a", "d/b", "d/c", "l"])
    one = here.build("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}")
    here._environment = {"SOURCE_DATE_EPOCH": str(EPOCH)}
    assert here.build("--no-cache") == one


@as_system
def test_times_before_the_epoch_do_not_matter_either(here: Somewhere, elsewhere: Somewhere) -> None:
    lines = f"{LINES}FROM scratch\nCOPY --from=0 /src /unpacked /s/\nCOPY src/a src/l /l/\nADD src/d busybox /d/\n"
    here.prepare(lines, EPOCH - 1000, ["a", "d/b", "d/c", "l"])
    elsewhere.prepare(lines, EPOCH - 86_400 * 300, ["l", "d/c", "d/b", "a"])
    for target in ("0", "1"):
        options = ("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "--target", target)
        assert here.build(*options) == elsewhere.build(*options)


@as_system
def test_layers_of_the_base_are_not_written_anew(here: Somewhere, sampan: commands.Sampan) -> None:
    here.prepare(BASE, EPOCH + 1, ["a"])
    base = here.build()
    sampan("tag", "made", "localhost/base")
    (here._directory / "Dockerfile").write_text("FROM localhost/base\nRUN echo > /x\n")
    made = here.build("--build-arg", "SOURCE_DATE_EPOCH=5")
    assert made["manifest"]["layers"][:-1] == base["manifest"]["layers"]
    assert made["config"]["history"][:-1] == base["config"]["history"]
    assert made["config"]["created"] == "1970-01-01T00:00:05Z"


@as_system
def test_what_pip_installs_is_the_same_where_the_epoch_is_declared(
    here: Somewhere, elsewhere: Somewhere, tmp_path: Path
) -> None:
    """py_compile writes no times where SOURCE_DATE_EPOCH is set; without it each .pyc has those of its source."""
    wheel = _wheel(tmp_path)
    install = "RUN pip install --no-index --root-user-action=ignore /w/*.whl"
    lines = f"FROM localhost/python:host\nARG SOURCE_DATE_EPOCH\nCOPY *.whl /w/\n{install}"
    made = []
    for machine in (here, elsewhere):
        machine._sampan("base", "host")
        machine.prepare(lines, EPOCH + 10, ["a"])
        shutil.copy(wheel, machine._directory)
        (machine._directory / wheel.name).chmod(0o644)
        made.append(machine.build("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}"))
    one, two = ([layer["digest"] for layer in each["manifest"]["layers"]] for each in made)
    assert one[-2:] == two[-2:]
