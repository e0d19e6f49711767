"""``update``: other limits and restart policies for containers that run, and for those that will."""

import json
import os
import signal
from pathlib import Path

import pytest

from commands import Sampan
from residents import IMAGE, await_, cgroups, state

pytestmark = [pytest.mark.system, pytest.mark.root]

RUN = ("run", "-d", "--network", "none", "--name", "web")
NAMES = {
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "swap": ("memory.swap.max", "memory.memsw.limit_in_bytes"),
    "pids": ("pids.max", "pids.max"),
    "quota": ("cpu.max", "cpu.cfs_quota_us"),
    "cpus": ("cpuset.cpus", "cpuset.cpus"),
}


def limit(sampan: Sampan, what: str) -> str:
    """A limit of the container "web", as its cgroup has it."""
    identifier = sampan("inspect", "-f", "{{.Id}}", "web").stdout.strip()
    paths = [Path(directory) / name for directory in cgroups(identifier) for name in NAMES[what]]
    return next((path.read_text().split()[0] for path in paths if path.exists()), "none")


def kill(sampan: Sampan) -> int:
    """Kills the first process of "web", whose pid that was."""
    pid: int = state(sampan, "web")["Pid"]
    assert pid > 0
    os.kill(pid, signal.SIGKILL)
    return pid


def test_limits_of_one_that_runs(root: Sampan) -> None:
    root(*RUN, "-m", "64m", "--pids-limit", "20", IMAGE, "sleep", "1000")
    assert root("update", "-m", "96m", "--memory-swap", "-1", "--cpus", "0.5", "web").stdout == "web\n"
    assert (limit(root, "memory"), limit(root, "quota"), limit(root, "pids")) == (str(96 << 20), "50000", "20")
    root("update", "--pids-limit", "-1", "web")
    assert limit(root, "pids") == "max"


def test_limits_stay_for_further_starts(root: Sampan) -> None:
    root(*RUN, "-m", "64m", IMAGE, "sleep", "1000")
    root("update", "-m", "96m", "--pids-limit", "9", "--cpuset-cpus", "0", "web")
    root("restart", "-t", "0", "web")
    assert [limit(root, what) for what in ("memory", "pids", "cpus")] == [str(96 << 20), "9", "0"]


def test_limits_of_one_that_does_not_run(root: Sampan) -> None:
    root("create", "--network", "none", "--name", "web", IMAGE, "sleep", "1000")
    root("update", "--pids-limit", "9", "web")
    root("start", "web")
    assert limit(root, "pids") == "9"


def test_another_restart_policy_counts_at_once(root: Sampan) -> None:
    root(*RUN, IMAGE, "sleep", "1000")
    root("update", "--restart", "always", "--pids-limit", "9", "web")
    first = kill(root)
    assert await_(lambda: state(root, "web")["Pid"] not in (0, first))
    assert limit(root, "pids") == "9"
    root("update", "--restart", "no", "web")
    kill(root)
    assert await_(lambda: state(root, "web")["Status"] == "exited")
    assert json.loads(root("inspect", "web").stdout)[0]["HostConfig"]["RestartPolicy"]["Name"] in ("no", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("web",), "nothing to change was given"),
        (("-m", "1k", "web"), "6 MB of memory at least"),
        (("-m", "1g", "web"), "--memory-swap counts memory and swap together"),
        (("--cpus", "0.5", "--cpu-quota", "5", "web"), "--cpus says the same"),
        (("--restart", "perhaps", "web"), "invalid --restart"),
        (("--restart", "always", "web"), "is removed when it ends"),
        (("-m", "64m", "nobody"), "no such container: nobody"),
    ],
)
def test_what_cannot_be(root: Sampan, words: tuple[str, ...], sentence: str) -> None:
    root("create", "--rm", "--name", "web", "-m", "64m", IMAGE, "sleep", "1000")
    done = root("update", *words, check=False)
    assert done.returncode != 0
    assert sentence in done.stderr


def test_an_ordinary_user_may_change_what_is_his(ordinary: Sampan) -> None:
    ordinary("create", "--name", "web", "--network", "none", IMAGE, "true")
    ordinary("update", "--restart", "on-failure:3", "web")
    policy = json.loads(ordinary("inspect", "web").stdout)[0]["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}
