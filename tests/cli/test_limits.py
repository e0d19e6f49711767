"""Sizes and limits as Docker's flags write them."""

import pytest

from sampan.build.host import Limit
from sampan.cli import limits
from sampan.errors import Invalid


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("100", 100), ("64m", 64 << 20), ("64MB", 64 << 20), ("1.5GiB", 3 << 29), ("2 k", 2048), ("7b", 7)],
)
def test_sizes(text: str, count: int) -> None:
    assert limits.size(text, "--shm-size") == count


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1mm", "1e9", "٣"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(Invalid, match="--shm-size"):
        limits.size(text, "--shm-size")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=1024:2048", Limit("RLIMIT_NOFILE", 1024, 2048)),
        ("nproc=5", Limit("RLIMIT_NPROC", 5, 5)),
        ("core=0:-1", Limit("RLIMIT_CORE", 0, -1)),
        ("memlock=-1", Limit("RLIMIT_MEMLOCK", -1, -1)),
    ],
)
def test_limits(text: str, limit: Limit) -> None:
    assert limits.limit(text) == limit


@pytest.mark.parametrize("text", ["", "nofile", "nofile=", "nofile=a", "nofile=5:4", "nofile=-1:5", "nosuch=1", "as=1"])
def test_wrong_limits(text: str) -> None:
    with pytest.raises(Invalid, match="--ulimit"):
        limits.limit(text)
