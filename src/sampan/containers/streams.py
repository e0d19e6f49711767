"""What a container's monitor and its clients say to each other: one message, one packet (SOCK_SEQPACKET).

client → monitor   i DATA   input           I          end of input
                   s N      send signal N   r ROWS COLUMNS   the client's terminal has this size
                   q        do not start the container again when it ends
                   u POLICY the container's limits, in its spec, or its restart policy were changed
                   a        attach: send me output from now on
                   k        (after the exit) I remove the container myself
                   e        with descriptors: from now on this is about another program (``executions``)
monitor → client   1 DATA   standard output (or the terminal's)     2 DATA   standard error
                   x N      the container ended with this exit code
"""

from __future__ import annotations

import os

from sampan.linux.sockets import Connection

INPUT = b"i"
END_OF_INPUT = b"I"
SIGNAL = b"s"
RESIZE = b"r"
ATTACH = b"a"
STAY = b"q"
CHANGED = b"u"
KEEP = b"k"
EXECUTE = b"e"
EXIT = b"x"
DETACH = b"d"
NETWORK = b"n"
RUNNING = b"running"
CHUNK = 32 << 10
"""Bytes of data in one message at most: well below what a socket takes as one packet."""


def listen(path: str) -> Connection:
    """A listening socket at ``path``, mode 0600, replacing what an earlier monitor left."""
    server = Connection()
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        # An address holds 107 bytes; through the descriptor a path of any length fits.
        server.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        os.chmod(path, 0o600)
        server.listen(16)
    finally:
        os.close(directory)
    return server


def connect(path: str) -> Connection:
    """A connection to a monitor. Raises OSError if nobody listens."""
    client = Connection()
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        client.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except BaseException:
        client.close()
        raise
    finally:
        os.close(directory)
    return client
