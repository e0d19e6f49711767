"""What is said while a container is being made is heard, whoever ends first."""

import pytest

from sampan.errors import CommandMissing
from sampan.linux import sockets
from sampan.runtime import handshake


def test_last_words_are_heard_although_they_were_talked_over() -> None:
    """The side that fails ends without reading what the other has just sent."""
    ours, theirs = sockets.pair()
    handshake.tell_failure(theirs, CommandMissing("it is not there", hint="look elsewhere"))
    ours.send(handshake.START)
    theirs.close()
    with ours, pytest.raises(CommandMissing) as caught:
        handshake.expect(ours, b"running")
    assert (caught.value.message, caught.value.hint) == ("it is not there", "look elsewhere")
