"""USER, -u and --chown as numbers: from the image's own files, never from the host, never out of range."""

from typing import TYPE_CHECKING

import pytest

from sampan.errors import Invalid, NotFound
from sampan.snapshots.users import MAX_ID, resolve, resolve_owner

if TYPE_CHECKING:
    from sampan.snapshots.users import ReadFile

PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n1234:x:77:77::/odd:\n#c:x:1:1:::\nbad:line\n"
)
GROUP = b"root:x:0:\nbob:x:1001:\nstaff:x:50:alice,bob\naudio:x:29:bob\n5:x:66:\n"


def files(passwd: bytes | None = PASSWD, group: bytes | None = GROUP) -> "ReadFile":
    return lambda path, limit: {b"/etc/passwd": passwd, b"/etc/group": group}[path]


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (0,), "/root"),
        ("root", 0, 0, (0,), "/root"),
        ("0", 0, 0, (0,), "/root"),
        ("bob", 1000, 1001, (1001, 50, 29), "/home/bob"),
        ("1000", 1000, 1001, (1001, 50, 29), "/home/bob"),
        ("bob:staff", 1000, 50, (50,), "/home/bob"),
        ("bob:7", 1000, 7, (7,), "/home/bob"),
        ("4321", 4321, 0, (0,), "/"),
        ("4321:8", 4321, 8, (8,), "/"),
        (":50", 0, 50, (50,), "/root"),
        ("bob:", 1000, 1001, (1001, 50, 29), "/home/bob"),
        ("1234", 1234, 0, (0,), "/"),  # a number is never a name (CVE-2026-46680)
        ("4321:5", 4321, 5, (5,), "/"),
    ],
)
def test_users(text: str, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
    user = resolve(text, files())
    assert (user.uid, user.gid, user.groups, user.home) == (uid, gid, groups, home)


def test_an_image_without_the_files() -> None:
    user = resolve("", files(None, None))
    assert (user.uid, user.gid, user.groups, user.home) == (0, 0, (0,), "/")
    with pytest.raises(NotFound, match="unable to find user bob"):
        resolve("bob", files(None, None))


@pytest.mark.parametrize("text", ["4294967296", str(MAX_ID + 1), "-1", "0:-1", "0:4294967296", "9" * 5000])
def test_numbers_out_of_range(text: str) -> None:
    with pytest.raises(Invalid):
        resolve(text, files())


@pytest.mark.parametrize("text", ["nobody", "0x1", "bob:nogroup", "1e3", "٣", "#c", "bad"])
def test_names_that_the_image_does_not_know(text: str) -> None:
    with pytest.raises(NotFound):
        resolve(text, files())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("bob", (1000, 1001)), ("bob:staff", (1000, 50)), ("5", (5, 5)), ("5:6", (5, 6)), ("0:bob", (0, 1001))],
)
def test_owners(text: str, expected: tuple[int, int]) -> None:
    assert resolve_owner(text, files()) == expected


def test_a_file_with_ids_that_cannot_be() -> None:
    with pytest.raises(Invalid):
        resolve("evil", files(b"evil:x:4294967296:0::/:\n"))
