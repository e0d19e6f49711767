"""The first process of a container with ``--init``: it stays, and the program is its child.

Nothing is imported late.
"""

from __future__ import annotations

import _signal as signal  # the part in C: the rest of signal takes longer to load
import os

from sampan.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def lead() -> None:
    """Goes on in a child, which becomes the program. This process stays the first one of the container (``--init``):
    it passes signals on, buries whoever loses his parent, and ends as the program does."""
    watched = (*_FORWARDED, signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        if os.isatty(0):
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
            os.tcsetpgrp(0, os.getpid())
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    syscalls.set_process_name("sampan-init")
    # Nothing of the host's may stay open in a process that the container could come to trace.
    syscalls.close_range(0)
    while True:
        number = signal.sigwait(watched)
        if number != signal.SIGCHLD:
            os.kill(pid, number)
            continue
        status = _bury(pid)
        if status is not None:
            _end_as(status)


def _bury(program: int) -> int | None:
    """Waits for all children that have ended; the status of the program if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        if pid == program:
            found = status


def _end_as(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        os._exit(128 + os.WTERMSIG(status))  # the first process of a namespace cannot kill itself by signal
    os._exit(os.WEXITSTATUS(status))
