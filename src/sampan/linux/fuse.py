"""fuse-overlayfs(1): what overlayfs does, by a program, for kernels that do not let users mount that.

It mounts in this process's mount namespace, of which this process must be root, and ends with this process.
"""

from __future__ import annotations

import os
import select
from _signal import SIGKILL

from sampan.errors import Unavailable
from sampan.linux import mounts, syscalls

PROGRAM = "fuse-overlayfs"
_DEVICE = "/dev/fuse"
_SECONDS = 10
_POLL = 0.002


class Mounted:
    """A running program; what it shows is at ``path``."""

    def __init__(self, path: str, pid: int) -> None:
        self.path = path
        self._pid = pid

    def close(self) -> None:
        """Takes away what it shows, and waits for its end: then all is in the upper directory. May be called again."""
        if not self._pid:
            return
        try:
            mounts.umount(os.fsencode(self.path), mounts.MNT_DETACH)
        except OSError:
            os.kill(self._pid, SIGKILL)  # it has shown nothing
        pid, self._pid = self._pid, 0
        os.waitpid(pid, 0)


def find() -> str:
    """The program's path where it can be used: it is installed, and this process may use /dev/fuse; else empty."""
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return ""
    directories = [*os.environ.get("PATH", os.defpath).split(":"), "/usr/bin"]
    candidates = (f"{directory}/{PROGRAM}" for directory in directories if directory.startswith("/"))
    return next((path for path in candidates if os.access(path, os.X_OK)), "")


def mount(lower: tuple[str, ...], upper: str, work: str) -> Mounted:
    """Shows the ``lower`` directories, topmost first, and what changes in ``upper``, at ``WORK/merged``.

    ``work`` has a directory for the program beside that. The process must have a single thread. Raises Unavailable.
    """
    program = find()
    if not program:
        hint = "install it, and let users have /dev/fuse: chmod 666 /dev/fuse"
        raise Unavailable(f"{PROGRAM}, by which the store's file systems were mounted, cannot be used", hint=hint)
    base = os.path.dirname(os.path.dirname(upper))
    for name in ("merged", "fuse"):
        os.makedirs(f"{work}/{name}", 0o700, exist_ok=True)
    below = ":".join(os.path.relpath(path, base) for path in lower)
    options = f"lowerdir={below},upperdir={os.path.relpath(upper, base)},workdir={os.path.relpath(work, base)}/fuse"
    merged = f"{work}/merged"
    said = os.memfd_create(PROGRAM)
    try:
        mounted = Mounted(merged, _spawn([program, "-f", "-o", options, merged], base, said))
        try:
            _await(mounted, said)
        except BaseException:
            mounted.close()
            raise
        return mounted
    finally:
        os.close(said)


def _spawn(words: list[str], directory: str, said: int) -> int:
    parent = os.getpid()
    pid = os.fork()  # not posix_spawn, which knows no PR_SET_PDEATHSIG
    if pid:
        return pid
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() == parent:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for number, fd in enumerate((null, null, said)):
                os.dup2(fd, number)
            os.chdir(directory)
            os.umask(0)
            os.execve(words[0], words, os.environ)
    finally:
        os._exit(127)


def _await(mounted: Mounted, said: int) -> None:
    """Waits until it shows something. Raises Unavailable if it ends before, or takes too long."""
    before = os.stat(os.path.dirname(mounted.path)).st_dev
    ended = syscalls.pidfd_open(mounted._pid)
    try:
        for _ in range(round(_SECONDS / _POLL)):
            if os.stat(mounted.path).st_dev != before:
                return
            if select.select([ended], [], [], _POLL)[0]:
                break
    finally:
        os.close(ended)
    words = os.pread(said, 1 << 16, 0).decode(errors="replace").strip().splitlines()
    raise Unavailable(f"{PROGRAM} mounts nothing: {'; '.join(words[-2:]) or 'it says nothing'}")
