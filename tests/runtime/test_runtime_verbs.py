"""The verbs of the OCI runtime command that look at containers and change them, held against those of runc."""

import json
import signal

import pytest

from bundles import Bundle
from residents import await_

pytestmark = [pytest.mark.system, pytest.mark.needs("busybox")]


def test_everyone_in_a_container_is_listed_and_hears_a_signal(anyones_bundle: Bundle) -> None:
    """Also where a container has no cgroup that would know its processes."""
    bundle = anyones_bundle
    name = bundle.create("sh", "-c", "trap : TERM; sleep 1000 & sleep 1000 & wait; wait; exec sleep 1000")
    bundle("start", name)
    assert await_(lambda: len(json.loads(bundle("ps", "-f", "json", name).stdout)) == 3)
    bundle("kill", "--all", name, "TERM")
    assert await_(lambda: len(json.loads(bundle("ps", "-f", "json", name).stdout)) == 1)
    bundle("kill", "-a", name, "9")
    assert await_(lambda: bundle.status(name) == "stopped")
    assert json.loads(bundle("ps", "-f", "json", name).stdout) == []


def test_a_run_that_is_killed_takes_its_container_along(anyones_bundle: Bundle) -> None:
    bundle = anyones_bundle
    bundle.write("sleep", "1000")
    name = bundle.name()
    with bundle.started("run", "--keep", "--bundle", bundle.path, name) as running:
        assert await_(lambda: bundle("state", name, check=False).stdout and bundle.status(name) == "running")
        running.kill()
    assert running.returncode == -signal.SIGKILL
    assert await_(lambda: bundle.status(name) == "stopped")
    bundle("delete", name)
