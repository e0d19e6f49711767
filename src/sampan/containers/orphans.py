"""What is left of a container whose monitor was killed."""

from __future__ import annotations

import os
import select
import signal

from sampan.containers import ending
from sampan.containers.record import Container
from sampan.containers.state import read_state
from sampan.runtime.cgroups import container as cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.containers.lifecycle import Stores


def release(container: Container, stores: Stores) -> None:
    """Gives back what a monitor that was killed could not: the network's lease and rules, and the cgroup."""
    ending.let_go(container)
    _end_orphan(container)
    if container.options.is_bridged and not stores.rootless:
        from sampan.networks import membership

        membership.detach_all(stores.paths.networks, container.id)
    cgroups.remove_path(read_state(container.directory).cgroup or container.cgroup)


def _end_orphan(container: Container) -> None:
    """Kills a first process that outlived its monitor: a program can take back the signal that ends it then, and one
    that is set-user-ID loses it (prctl(2), PR_SET_PDEATHSIG)."""
    pid = read_state(container.directory).pid
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # it is gone, as it should be
        return
    try:
        # The number may be another's by now; files of the container's own are mounted only there.
        with open(f"/proc/{pid}/mountinfo") as file:
            if container.id not in file.read():
                return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(10_000)
    except OSError:
        return
    finally:
        os.close(pidfd)
