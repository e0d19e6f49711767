"""Signals that are passed on."""

import os
import signal

from sampan.containers.session import Signals
from sampan.linux.poll import Poll


def test_a_signal_before_the_waiting_ends_the_waiting() -> None:
    """Its action may have been called already or not: the loop goes round once more, and it is."""
    before = signal.getsignal(signal.SIGUSR1)
    heard: list[int] = []
    poll = Poll()
    with Signals(heard.append) as signals:
        signals.watch(poll)
        os.kill(os.getpid(), signal.SIGUSR1)
        ready = poll.wait(10)
        assert len(ready) == 1
        for fd, mask, action in ready:
            action(fd, mask)
        assert heard == [signal.SIGUSR1]
        assert poll.wait(0) == []
    assert signal.getsignal(signal.SIGUSR1) == before
    assert signal.set_wakeup_fd(-1) == -1
