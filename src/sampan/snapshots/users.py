"""Users of an image: ``USER``, ``-u`` and ``--chown`` as numbers, read from the image's own passwd(5) and group(5).

No library of the host's or the image's is asked (NSS would load the image's code), a number is never looked up as a
name (CVE-2026-46680), and both files are read without leaving the tree, up to a limit.
"""

from __future__ import annotations

from sampan.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NamedTuple

    ReadFile = Callable[[bytes, int], bytes | None]
    """``Tree.read_file``: the content of a file of the image, None if there is none."""
else:
    from sampan.values import NamedTuple

MAX_ID = (1 << 31) - 1
"""The highest id that runc and Docker accept; larger ones wrap around in some tool's 32 bits (CVE-2024-40635)."""
MAX_BYTES = 1 << 20


class User(NamedTuple):
    """Numbers inside the container; ``groups`` begins with ``gid`` (as moby since CVE-2022-36109)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str


def resolve(text: str, read: ReadFile, extra_groups: tuple[str, ...] = ()) -> User:
    """The user that ``name``, ``uid``, ``name:group``, ``uid:gid`` … means in an image; "" is root.

    As in Docker, supplementary groups come from the group file only if no group is given. Raises Invalid for a number
    out of range, NotFound for a name that the image does not know.
    """
    user_text, colon, group_text = text.partition(":")
    passwd = list(_fields(read(b"/etc/passwd", MAX_BYTES), 7))
    groups = list(_fields(read(b"/etc/group", MAX_BYTES), 4))
    entry, uid = _find(user_text or "0", passwd, "user")
    gid = _number(entry[3], "group") if entry else 0
    name = entry[0] if entry else ""
    supplementary = []
    if colon and group_text:
        _, gid = _find(group_text, groups, "group")
    elif name:
        supplementary = [_number(row[2], "group") for row in groups if name in row[3].split(",")]
    supplementary += [_find(extra, groups, "group")[1] for extra in extra_groups]
    every = dict.fromkeys((gid, *supplementary))
    return User(uid, gid, tuple(every), entry[5] if entry and entry[5] else "/", name)


def resolve_owner(text: str, read: ReadFile) -> tuple[int, int]:
    """The uid and gid of ``--chown=user[:group]``: without a group a number is both, a name has its primary group."""
    user_text, _, group_text = text.partition(":")
    passwd = list(_fields(read(b"/etc/passwd", MAX_BYTES), 7)) if not _is_number(user_text) else []
    entry, uid = _find(user_text or "0", passwd, "user")
    if not group_text:
        return uid, _number(entry[3], "group") if entry else uid
    groups = list(_fields(read(b"/etc/group", MAX_BYTES), 4)) if not _is_number(group_text) else []
    return uid, _find(group_text, groups, "group")[1]


def _find(text: str, rows: list[list[str]], what: str) -> tuple[list[str] | None, int]:
    """The row of a name or number, if any, and the number."""
    if _is_number(text):
        number = _number(text, what)
        return next(
            (row for row in rows if _is_number(row[2]) and row[2].lstrip("0") == str(number).lstrip("0")), None
        ), number
    for row in rows:
        if row[0] == text:
            return row, _number(row[2], what)
    where = "/etc/passwd" if what == "user" else "/etc/group"
    message = f"unable to find {what} {text}: no matching entries in the image's {where}"
    raise NotFound(message, hint="add it in a RUN before (useradd, groupadd), or give numbers, for example 1000:1000")


def _is_number(text: str) -> bool:
    return text.isascii() and text.lstrip("-").isdigit()


def _number(text: str, what: str) -> int:
    if not _is_number(text) or len(text) > 10 or not 0 <= int(text) <= MAX_ID:
        shown = text if len(text) <= 20 else text[:20] + "…"
        raise Invalid(f"a {what} id is a number from 0 to {MAX_ID}, not {shown!r}")
    return int(text)


def _fields(data: bytes | None, count: int) -> Iterator[list[str]]:
    for line in (data or b"").decode("utf-8", "surrogateescape").splitlines():
        fields = line.strip().split(":")
        if len(fields) >= count and not line.startswith("#"):
            yield fields
