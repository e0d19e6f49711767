"""Messages and descriptors between two ends."""

import os
from pathlib import Path

from sampan.linux import sockets
from sampan.linux.sockets import Connection


def test_messages_are_kept_apart() -> None:
    ours, theirs = sockets.pair()
    with ours, theirs:
        ours.send(b"one")
        ours.send(b"two")
        assert (theirs.recv(100), theirs.receive(100)) == (b"one", (b"two", []))
        assert not os.get_inheritable(ours.fileno())


def test_a_descriptor() -> None:
    ours, theirs = sockets.pair()
    reading, writing = os.pipe()
    with ours, theirs:
        ours.send_descriptors(b"here", (writing,))
        message, [received] = theirs.receive(100)
        assert message == b"here"
        assert not os.get_inheritable(received)
        os.write(received, b"through")
        assert os.read(reading, 100) == b"through"
    for fd in (reading, writing, received):
        os.close(fd)


def test_listening(tmp_path: Path) -> None:
    with Connection() as server, Connection() as client:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        client.connect(str(tmp_path / "s"))
        with server.accept() as accepted:
            accepted.send(b"hello")
            assert client.recv(100) == b"hello"
