"""Many processes at once do everything to the same images: nobody fails but for a reason, and the store stays whole.

SAMPAN_TEST_CROWD=60 has them do it for a minute (default: 6 seconds).
"""

import os
import random
import re
import threading
import time
from pathlib import Path

import pytest

import images
import servers
from commands import Sampan
from stores import half_done, problems

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.registry,
    pytest.mark.needs("docker-registry", "busybox"),
]

PROCESSES = 20
SECONDS = float(os.environ.get("SAMPAN_TEST_CROWD", "6"))
HONEST = re.compile(r"no such image: |no image is named |conflict: unable to (remove repository reference|delete) ")
"""What may be said: it is in use, or it is not there (any more)."""


@pytest.mark.xdist_group("crowd")
def test_a_crowd(sampan: Sampan, tmp_path: Path) -> None:
    images.put(sampan, "kept", config={"Labels": {"keep": "yes"}})
    with servers.registry(tmp_path / "registry") as registry:
        names = [f"{registry.address}/thing{number}:1" for number in range(2)]
        for number, name in enumerate(names):
            layers = [images.layer({f"opt/{n}": os.urandom(100_000), "n": f"{n + number}"}) for n in range(3)]
            with images.served([images.busybox_layer(), *layers]) as address:
                sampan("copy", f"docker://{address}/thing", f"docker://{name}")
                sampan("copy", f"docker://{address}/thing", f"docker-archive:{tmp_path}/thing.tar:{name}")
        context = tmp_path / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM {names[0]}\nCOPY file /\nRUN cat /file > /copied\nLABEL keep=\n")
        (context / "file").write_text("content")
        commands: list[tuple[str | Path, ...]] = [
            ("pull", names[0]),
            ("pull", names[1]),
            ("push", names[0]),
            ("load", "-i", tmp_path / "thing.tar"),
            ("save", "-o", "/dev/null", names[1]),
            ("build", "--network=none", "-t", "built", context),
            ("build", "--network=none", "--no-cache", "-t", "built", context),
            ("tag", names[0], "other:1"),
            ("tag", names[1], "other:1"),
            ("rmi", "other:1"),
            ("rmi", "-f", "built"),
            ("rmi", "-f", names[0]),
            ("image", "prune", "-f"),
            ("image", "prune", "-af", "--filter", "label!=keep"),
            ("cache", "prune", "-f"),
            ("system", "prune", "-f"),
            ("run", "--rm", "--network=none", names[1], "true"),
            ("run", "--rm", "--network=none", "kept", "true"),
            ("images",),
            ("history", "built"),
            ("system", "df"),
        ]
        said = crowd(sampan, commands)
        done = {" ".join(map(str, command)) for command, message in said if not message}
        dishonest = [f"{command}: {message}" for command, message in said if message and not HONEST.search(message)]
        assert not dishonest, "\n".join(dishonest)
        assert len(done) > len(commands) // 2, done
        assert problems(sampan) == []
        for name in names:
            assert sampan("run", "--rm", "--network=none", "--pull=always", name, "echo", "ok").stdout == "ok\n"
        sampan("system", "prune", "-f")
        assert half_done(sampan) == []


def crowd(sampan: Sampan, commands: list[tuple[str | Path, ...]]) -> list[tuple[tuple[str | Path, ...], str]]:
    """What came of each command that PROCESSES at a time were at: it, and what it said when it failed."""
    said: list[tuple[tuple[str | Path, ...], str]] = []
    end = time.monotonic() + SECONDS

    def work(seed: int) -> None:
        randomly = random.Random(seed)
        while time.monotonic() < end:
            command = randomly.choice(commands)
            done = sampan(*command, check=False, timeout=300)
            said.append((command, done.stderr or f"exit code {done.returncode}" if done.returncode else ""))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said
