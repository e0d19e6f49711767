"""How the first process of a container comes into being."""

import os
import time

import pytest

from sampan.linux import sockets
from sampan.runtime import handshake, init


def test_the_pid_is_said_before_the_first_process_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = handshake.tell_pid
    monkeypatch.setattr(handshake, "tell_pid", lambda end, pid: (time.sleep(0.2), tell(end, pid)))
    ours, theirs = sockets.pair()
    child = os.fork()
    if child == 0:
        try:
            init.fork_and_tell(theirs)
            theirs.send(handshake.READY)
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(20)
    try:
        assert handshake.expect(ours, b"pid ")
        assert handshake.expect(ours, handshake.READY)
    finally:
        os.waitpid(child, 0)
        ours.close()
