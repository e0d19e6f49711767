"""``--userns keep-id``: in the container an ordinary user has his own id, and not root's, as Podman has it.

The command is root of the user's namespace as ever, and mounts all. The container's program then goes into a user
namespace below that, in which root's id is called like the user's: files of his are his, and so are the image's.
"""

from __future__ import annotations

import re

from sampan.errors import Invalid, Unsupported
from sampan.linux.namespaces import IdRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORM = re.compile(r"keep-id(?::(?:(?:uid=\d{1,9}|gid=\d{1,9})(?:,(?!$)|$)){1,2})?", re.ASCII)


def parse(text: str, *, rootless: bool) -> str:
    """``--userns`` as ``Namespaces.user`` has it. Raises Invalid and Unsupported."""
    kind = text.partition(":")[0]
    if text in ("", "host"):
        return ""
    if kind in ("auto", "nomap", "container", "ns", "private"):
        raise Unsupported(f"--userns {text} is not supported", hint="host and, for ordinary users, keep-id are")
    if not _FORM.fullmatch(text):
        raise Invalid(f"invalid --userns {text!r}", hint="host, keep-id or keep-id:uid=1000,gid=1000")
    if not rootless:
        raise Invalid("--userns keep-id is for ordinary users: root has root's id in every container")
    given = dict(word.split("=") for word in text.partition(":")[2].split(",") if word)
    return f"keep-id:{given.get('uid') or _own('uid')}:{given.get('gid') or _own('gid')}"


def user(kept: str) -> str:
    """Who the program is unless somebody else was asked for: ``uid:gid``."""
    return kept.partition(":")[2]


def apply(kept: str, spec: dict[str, Any], uid: int, gid: int, groups: tuple[int, ...]) -> None:
    """Puts the namespace into a runtime spec, with the ids that the program has in it."""
    first, second = (int(number) for number in user(kept).split(":"))
    spec["linux"]["keptIds"] = [_ranges(first, _count("uid")), _ranges(second, _count("gid"))]
    process = spec["process"]
    process.pop("pretence", None)  # he is not root, and is told so
    process["user"] |= {"uid": uid, "gid": gid, "additionalGids": list(groups)}


def _ranges(own: int, count: int) -> list[IdRange]:
    """``own`` is what root is called, and all others, as far as there are any, keep their order around it."""
    before = min(own, count - 1)
    ranges = [IdRange(0, 1, before), IdRange(own, 0, 1), IdRange(own + 1, own + 1, count - 1 - own)]
    return [each for each in ranges if each.length > 0]


def _own(kind: str) -> int:
    """The caller's id outside of the user namespace of which he is root."""
    with open(f"/proc/self/{kind}_map") as file:
        return int(file.readline().split()[1])


def _count(kind: str) -> int:
    with open(f"/proc/self/{kind}_map") as file:
        return sum(int(line.split()[2]) for line in file)
