"""Slurm runs an ordinary user's jobs in containers by the OCI runtime command: one node, in a sandbox of its own."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import commands
import peers as engines
from commands import Account, new_store, remove_store
from peers import Peers
from residents import await_

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.interop,
    pytest.mark.needs("slurmctld", "slurmd", "srun", "sbatch", "munged", "busybox", "setpriv", "ip"),
]
_ADDRESS = "192.0.2.1"  # of the sandbox's loopback: getaddrinfo(3) finds nothing where there is 127.0.0.1 alone
_SETTINGS = """
ClusterName=test
SlurmctldHost={host}({address})
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/linear
SchedulerParameters=sched_interval=1
KillWait=1
MessageTimeout=60
UnkillableStepTimeout=300
SlurmdTimeout=0
NodeName={host} NodeAddr={address} CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""
_CONTAINERS = """
ContainerPath={place}/containers/%u.%j.%s.%t/
RunTimeQuery="{runtime} state %n.%u.%j.%s.%t"
RunTimeRun="{runtime} run --keep --bundle %b %n.%u.%j.%s.%t"
RunTimeKill="{runtime} kill --all %n.%u.%j.%s.%t"
RunTimeDelete="{runtime} delete --force %n.%u.%j.%s.%t"
"""


class Cluster:
    """A node, and a bundle of a user's who has jobs for it."""

    def __init__(self, peers: Peers, user: Account) -> None:
        self.peers = peers
        self.user = user
        self.place = peers.directory / "slurm"
        self.environment = ("env", "--unset=TMPDIR", f"SLURM_CONF={self.place}/slurm.conf")

    def __call__(self, *words: str | Path, check: bool = True) -> str:
        """A command of an administrator's."""
        return self.peers(*self.environment, *words, check=check)

    def typed(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        """A command of the user's."""
        ids = ("setpriv", f"--reuid={self.user.uid}", f"--regid={self.user.gid}", "--clear-groups")
        return self.peers.run(*self.environment, *ids, *words)

    def run(self, script: str, *options: str | Path) -> "subprocess.CompletedProcess[str]":
        """A job that is waited for."""
        return self.typed("srun", *self._contained(), *options, "sh", "-c", script)

    def submit(self, script: str) -> str:
        """The number of a job that is left to the node; what it says comes to the file ``said``."""
        output = ("--parsable", "--output", self.said)
        done = self.typed("sbatch", *self._contained(), *output, "--wrap", script)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def said(self) -> Path:
        return self.user.home / "said"

    def _contained(self) -> tuple[str | Path, ...]:
        home = self.user.home
        return "--export=PATH", "--chdir", home, "--container", home / "bundle"

    def state(self, job: str) -> dict[str, str]:
        """What the controller knows of a job."""
        words = self("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def remembered(self) -> list[Path]:
        """What the runtime still knows of the user's containers."""
        return list((self.user.home / "state").iterdir())

    def is_idle(self) -> bool:
        """Whether the node is there, and nothing is left of jobs."""
        jobs, node = self("squeue", "--noheader", check=False), self("sinfo", "--noheader", "-o%t", check=False)
        return not jobs and node.strip() == "idle"


def furnish(cluster: Cluster) -> None:
    """Writes the settings of the node, and makes the bundle. Nothing of it is seen outside of the sandbox."""
    place, user, peers = cluster.place, cluster.user, cluster.peers
    for name in ("state", "spool", "containers"):
        (place / name).mkdir(parents=True)
    (place / "containers").chmod(0o1777)
    peers.introduce(user)
    peers("ip", "address", "add", f"{_ADDRESS}/32", "dev", "lo")
    runtime = place / "runtime"
    exports = "".join(f"export {name}='{value}'\n" for name, value in user.environment.items())
    runtime.write_text(f'#!/bin/sh\n{exports}exec {peers.runtime} --root={user.home}/state "$@"\n')
    runtime.chmod(0o755)
    words = {"host": os.uname().nodename, "address": _ADDRESS, "place": place, "runtime": runtime}
    (place / "slurm.conf").write_text(_SETTINGS.format(**words))
    (place / "oci.conf").write_text(_CONTAINERS.format(**words))
    (place / "munge.key").write_bytes(os.urandom(1024))
    (place / "munge.key").chmod(0o400)
    bundle = user.home / "bundle"
    shutil.copytree(peers.box(), bundle / "rootfs", symlinks=True)
    for directory in (bundle, bundle / "rootfs"):
        shutil.chown(directory, user.uid, user.gid)
    made = cluster.typed(runtime, "spec", "--rootless", "--bundle", bundle)
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    root = new_store()
    shared = Path("/var/tmp") / root.name  # /dev/shm is the sandbox's own
    home = Path(tempfile.mkdtemp(prefix="sampan-test-home-"))
    shared.mkdir()
    try:
        with engines.sandboxed(shared) as peers, ExitStack() as daemons:
            cluster = Cluster(peers, commands.account(home))
            furnish(cluster)
            place = cluster.place
            files = (f"--{kind}-file={place}/munge.{kind}" for kind in ("key", "pid", "seed", "log"))
            daemons.enter_context(
                peers.started("munged", "--foreground", "--force", f"--socket={place}/munge.socket", *files)
            )
            assert await_((place / "munge.socket").exists)
            for daemon in ("slurmctld", "slurmd"):
                daemons.enter_context(peers.started(*cluster.environment, daemon, "-D"))
            assert await_(cluster.is_idle), cluster("sinfo", "--long", "--list-reasons")
            yield cluster
    finally:
        remove_store(home)
        shutil.rmtree(shared)
        remove_store(root)


def test_a_job_runs_in_a_container_and_its_exit_code_comes_back(cluster: Cluster) -> None:
    done = cluster.run("id -u; hostname; cat /proc/self/uid_map; echo oops >&2; exit 3")
    assert done.returncode == 3, done.stderr
    assert done.stdout.split() == ["0", "sampan", "0", str(cluster.user.uid), "1"]
    assert "oops" in done.stderr
    assert await_(cluster.is_idle)
    assert await_(lambda: not cluster.remembered())


def test_what_is_typed_reaches_the_job(cluster: Cluster) -> None:
    done = cluster.run("cat", "--input", cluster.place / "slurm.conf")
    assert done.stdout == (cluster.place / "slurm.conf").read_text()


def test_a_job_that_is_left_to_the_node(cluster: Cluster) -> None:
    job = cluster.submit("echo said by $SLURM_JOB_ID; hostname; exit 4")
    assert await_(lambda: cluster.state(job)["JobState"] == "FAILED")
    assert cluster.state(job)["ExitCode"] == "4:0"
    assert cluster.said.read_text() == f"said by {job}\nsampan\n"
    assert await_(cluster.is_idle)


def test_a_job_that_is_cancelled_ends_even_if_it_does_not_listen(cluster: Cluster) -> None:
    job = cluster.submit("trap '' TERM; echo up; while :; do sleep 1; done")
    assert await_(lambda: cluster.said.exists() and "up" in cluster.said.read_text())
    cluster("scancel", job)
    assert await_(lambda: cluster.state(job)["JobState"] == "CANCELLED")
    assert await_(cluster.is_idle)
    assert await_(lambda: not cluster.remembered())


def test_what_root_does_for_a_job_is_done_as_its_user(cluster: Cluster) -> None:
    """A bundle is its user's to write, and so are the hooks that run when Slurm deletes the container."""
    settings = cluster.user.home / "bundle/config.json"
    before, written = settings.read_text(), cluster.user.home / "deleted"
    script = f"id -u > {written}"
    spec = json.loads(before)
    spec["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]}
    settings.write_text(json.dumps(spec))
    try:
        assert cluster.run("echo said").stdout == "said\n"
        assert await_(cluster.is_idle)
        assert await_(written.exists)
        assert written.read_text() == f"{cluster.user.uid}\n"
    finally:
        settings.write_text(before)


def test_a_bundle_that_cannot_be_run_fails_the_job(cluster: Cluster) -> None:
    done = cluster.typed("srun", "--export=PATH", "--container", cluster.place, "true")
    assert done.returncode != 0
    assert await_(cluster.is_idle)
