"""Users and groups as an image's own /etc/passwd and /etc/group name them: read from the image, never from the host."""

from typing import NamedTuple

from sampan.errors import Invalid, NotFound
from sampan.snapshots.lookup import Tree

MAX_ID = (1 << 31) - 1
"""Docker's bound. Larger numbers wrap around to 0 somewhere below (CVE-2024-40635)."""
MAX_BYTES = 1 << 20
"""No passwd or group file larger than this is read: an image decides how long they are."""


class Account(NamedTuple):
    """Who a process is. ``groups`` are its supplementary groups, the primary one included (CVE-2022-36109)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class _User(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def account(tree: Tree, text: str) -> Account:
    """The account that USER or ``--user`` means by ``user[:group]``, each a name or a number; empty means root.

    A number is never looked up as a name. Without a group it is the user's own (0 for a number that has no entry), and
    the groups of which the user is a member come along; with one they do not. Raises NotFound for an unknown name,
    Invalid for a malformed text.
    """
    user, group = _split(text or "0")
    entry = _user(tree, user)
    if group:
        gid = _group(tree, group)
        return Account(entry.uid, gid, (gid,), entry.home)
    others = (known.gid for known in _groups(tree) if entry.name and entry.name in known.members)
    return Account(entry.uid, entry.gid, tuple(dict.fromkeys((entry.gid, *others))), entry.home)


def owner(tree: Tree, text: str) -> tuple[int, int]:
    """User and group id that ``--chown=user[:group]`` means.

    Without a group, a number stands for both, and a name brings its own group. Raises as ``account`` does.
    """
    user, group = _split(text)
    uid = _number(user)
    if uid is None:
        entry = _user(tree, user)
        uid, gid = entry.uid, entry.gid
    else:
        gid = uid
    return uid, _group(tree, group) if group else gid


def _split(text: str) -> tuple[str, str]:
    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise Invalid(f"{text!r} does not name a user", hint="write it as USER, USER:GROUP, UID or UID:GID")
    return user, group


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > MAX_ID:
        raise Invalid(f"the id {text} is out of range", hint=f"ids go from 0 to {MAX_ID}")
    return int(text)


def _user(tree: Tree, text: str) -> _User:
    uid = _number(text)
    for entry in _users(tree):
        if entry.name == text if uid is None else entry.uid == uid:
            return entry
    if uid is not None or text == "root":
        return _User("root" if not uid else "", uid or 0, 0, "/root" if not uid else "/")
    raise NotFound(
        f"the image has no user {text}", hint="its /etc/passwd has no such entry; a numeric id works without"
    )


def _group(tree: Tree, text: str) -> int:
    gid = _number(text)
    if gid is not None:
        return gid
    for entry in _groups(tree):
        if entry.name == text:
            return entry.gid
    if text == "root":
        return 0
    raise NotFound(
        f"the image has no group {text}", hint="its /etc/group has no such entry; a numeric id works without"
    )


def _users(tree: Tree) -> list[_User]:
    """passwd(5), malformed lines left out."""
    found = []
    for fields in _lines(tree, b"/etc/passwd"):
        if len(fields) >= 6 and _is_id(fields[2]) and _is_id(fields[3]):
            found.append(_User(fields[0], int(fields[2]), int(fields[3]), fields[5] or "/"))
    return found


def _groups(tree: Tree) -> list[_Group]:
    """group(5), malformed lines left out."""
    found = []
    for fields in _lines(tree, b"/etc/group"):
        if len(fields) >= 4 and _is_id(fields[2]):
            found.append(_Group(fields[0], int(fields[2]), tuple(fields[3].split(","))))
    return found


def _lines(tree: Tree, path: bytes) -> list[list[str]]:
    data = tree.read_file(path, MAX_BYTES) or b""
    return [
        line.split(":") for line in data.decode("utf-8", "surrogateescape").split("\n") if line[:1] not in ("", "#")
    ]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID
