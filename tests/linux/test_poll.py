"""What is watched is told, and nothing else."""

import os
from pathlib import Path

import pytest

from sampan.linux.poll import READ, WRITE, Poll


def test_only_what_is_waited_for() -> None:
    poll, seen = Poll(), []
    reading, writing = os.pipe()
    poll.watch(reading, READ, lambda fd, mask: seen.append((fd, mask)))
    poll.watch(writing, WRITE, lambda fd, mask: seen.append((fd, mask)))
    poll.serve(10)
    assert seen == [(writing, WRITE)]
    os.write(writing, b"x")
    poll.watch(writing, 0, print)
    poll.watch(writing, 0, print)
    poll.serve(10)
    assert seen[1:] == [(reading, READ)]
    os.close(writing)
    os.read(reading, 10)
    assert [(fd, mask) for fd, mask, _ in poll.wait(10)] == [(reading, READ)], "a hang-up"
    os.close(reading)


def test_another_action_for_other_events() -> None:
    poll, seen = Poll(), []
    reading, writing = os.pipe()
    os.write(writing, b"x")
    poll.watch(reading, WRITE, lambda *_: seen.append("old"))
    poll.watch(reading, READ, lambda *_: seen.append("new"))
    poll.serve(10)
    assert seen == ["new"]
    assert Poll().wait(0) == []
    os.close(reading)
    os.close(writing)


def test_a_regular_file(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    poll = Poll()
    with pytest.raises(PermissionError):
        poll.watch(fd, READ, print)
    poll.watch(fd, 0, print)
    os.close(fd)


def test_what_one_action_closes_is_not_told_to_the_next() -> None:
    """Whichever of the two is first."""
    poll, seen = Poll(), []
    ends = [os.pipe() for _ in range(2)]
    for _, writing in ends:
        os.write(writing, b"x")

    def close_all(fd: int, mask: int) -> None:
        seen.append(os.read(fd, 1))
        for reading, _ in ends:
            poll.watch(reading, 0, print)
            os.close(reading)

    for reading, _ in ends:
        poll.watch(reading, READ, close_all)
    assert poll.serve(10)
    assert seen == [b"x"]
    for _, writing in ends:
        os.close(writing)
