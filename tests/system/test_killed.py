"""``kill -9`` at any moment of a verb that changes the store: what was there is whole and runs, what was half done is
freed, and the next attempt succeeds.

SAMPAN_TEST_MOMENTS=200 tries that many moments (default 42), SAMPAN_TEST_SEED=2 others than usual.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

import images
import servers
from commands import Sampan
from crafted import layer_tar, make_image, open_store
from sampan.engine import open_engine
from sampan.oci.digest import Digest
from stores import half_done, problems

pytestmark = [pytest.mark.system, pytest.mark.root]

VERBS = ("pull", "push", "load", "build", "rmi", "prune")
MOMENTS = -(-int(os.environ.get("SAMPAN_TEST_MOMENTS", "42")) // len(VERBS))
SEED = os.environ.get("SAMPAN_TEST_SEED", "1")
MORTAL = Path(__file__).parents[1] / "mortal.py"
KEPT = "kept:latest"


class Deed(NamedTuple):
    """What is to be killed: a command, and what makes it have something to do (again). It adds or removes ``name``."""

    name: str
    command: Sequence[str | Path]
    prepare: Callable[[], object]


@pytest.fixture
def deed(request: pytest.FixtureRequest, sampan: Sampan, tmp_path: Path) -> Iterator[Deed]:
    """Of the verb that is the parameter; the store has KEPT then, which no verb may touch."""
    verb: str = request.param
    images.put(sampan, "kept", config={"Labels": {"keep": "yes"}})
    with servers.registry(tmp_path / "registry") as registry:
        name, archive = f"{registry.address}/thing:1", tmp_path / "thing.tar"
        contents = [images.layer({f"opt/{n}": os.urandom(300_000), "opt/all": str(n)}) for n in range(4)]
        with images.served([images.busybox_layer(), *contents]) as served:
            sampan("copy", f"docker://{served}/thing", f"docker://{name}")
            sampan("copy", f"docker://{served}/thing", f"docker-archive:{archive}:{name}")

        def remove() -> None:
            sampan("rmi", "-f", name, check=False)

        def take() -> None:
            sampan("load", "-i", archive)

        def begin_anew() -> None:
            remove()  # and with it what was compressed in another way
            take()
            shutil.rmtree(registry.storage / "docker", ignore_errors=True)

        (tmp_path / "file").write_text("content")
        lines = (f"FROM {KEPT}", "COPY file /a", "RUN echo ok > /b && echo $RANDOM > /c", "COPY file /d", "LABEL keep=")
        (tmp_path / "Dockerfile").write_text("\n".join(lines))
        commands: dict[str, tuple[tuple[str | Path, ...], Callable[[], object]]] = {
            "pull": (("pull", name), remove),
            "push": (("push", "--compression", "zstd", name), begin_anew),
            "load": (("load", "-i", archive), remove),
            "build": (("build", "--no-cache", "--network=none", "-t", name, tmp_path), remove),
            "rmi": (("rmi", "-f", name), take),
            "prune": (("system", "prune", "-af", "--filter", "label!=keep"), take),
        }
        yield Deed(name, *commands[verb])


@pytest.mark.needs("docker-registry", "busybox")
@pytest.mark.parametrize(
    "deed", [pytest.param(verb, marks=pytest.mark.xdist_group(f"killed {verb}")) for verb in VERBS], indirect=True
)
def test_a_store_survives(deed: Deed, sampan: Sampan, tmp_path: Path) -> None:
    randomly = random.Random(f"{SEED} {deed.command[0]}")
    note = tmp_path / "counts.json"
    deed.prepare()
    began = time.monotonic()
    assert subprocess.run(mortal(sampan, "count", note, deed), stdout=subprocess.DEVNULL, check=False).returncode == 0
    seconds, counts = time.monotonic() - began, json.loads(note.read_text())
    for number in range(MOMENTS):
        deed.prepare()
        before = listed(sampan)
        if number % 3 == 2:
            moment = f"after {randomly.uniform(0.05, seconds):.2f} seconds"
            kill_after(float(moment.split()[1]), mortal(sampan, "none", 1, deed))
        else:
            function = randomly.choice(sorted(counts))
            at = randomly.randint(1, counts[function])
            moment = f"at {function} number {at}"
            subprocess.run(mortal(sampan, function, at, deed), capture_output=True, check=False, timeout=60)
        assert problems(sampan) == [], moment
        after = listed(sampan)
        assert {**after, deed.name: ""} == {**before, deed.name: ""}, moment
        for name in after:
            assert sampan("run", "--rm", "--network=none", name, "echo", "ok").stdout == "ok\n", moment
        if number % 3 == 0 or number == MOMENTS - 1:
            sampan("image", "prune", "-f")
            assert half_done(sampan) == [], moment
    deed.prepare()
    sampan(*deed.command)
    assert problems(sampan) == []


def mortal(sampan: Sampan, what: str, where: object, deed: Deed) -> list[str]:
    """The command of a deed in a process that dies at a moment (see ``mortal``)."""
    return [sys.executable, str(MORTAL), what, str(where), *sampan.command(*deed.command)[3:]]


def kill_after(seconds: float, command: Sequence[str]) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def listed(sampan: Sampan) -> dict[str, str]:
    """The images that have a name."""
    with open_engine(str(sampan.root)) as engine:
        return {name.reference.familiar(): name.image_id for name in engine.images.names()}


def test_what_was_half_done_is_freed_by_a_prune(sampan: Sampan) -> None:
    store = open_store(sampan.root)
    writer = store.blobs.resume(Digest("sha256:" + "0" * 64), 8 << 20)
    writer.write(bytes(2 << 20))
    writer.abandon(keep=True)
    partial = sampan.root / "blobs/partial"
    make_image(store, layer_tar("x", b"x"))
    assert "Total reclaimed space: 2.1MB" in sampan("image", "prune", "-f").stdout
    assert list(partial.iterdir()) == []
