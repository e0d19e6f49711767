"""Devices of the host that a container may use: the language of the flags, and what it becomes in the runtime spec."""

from __future__ import annotations

import os
import re

from sampan.containers.options import Security
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST = 2**32 - 1
_RULE = re.compile(r"([acb]) (\d{1,10}|\*):(\d{1,10}|\*) ([rwm]{1,3})", re.ASCII)


def parse_device(text: str) -> tuple[str, str, str]:
    """``--device PATH[:INSIDE][:rwm]``. Raises Invalid and NotFound."""
    parts = text.split(":")
    permissions = parts.pop() if len(parts) > 1 and parts[-1] and set(parts[-1]) <= set("rwm") else "rwm"
    if len(parts) > 2 or not parts[0].startswith("/") or not parts[-1].startswith("/"):
        raise Invalid(f"invalid --device {text!r}", hint="write it as /dev/NAME, /dev/NAME:/dev/INSIDE or with :rwm")
    if not os.path.exists(parts[0]):
        raise NotFound(f"there is no device {parts[0]}")
    return parts[0], parts[-1], permissions


def parse_rule(text: str) -> str:
    """``--device-cgroup-rule``: ``c 1:3 rwm`` (docker/cli, validateDeviceCgroupRule). Raises Invalid."""
    match = _RULE.fullmatch(text)
    if not match or any(number != "*" and int(number) > _LARGEST for number in match.group(2, 3)):
        raise Invalid(f"invalid --device-cgroup-rule {text!r}", hint="write it as TYPE MAJOR:MINOR ACCESS: c 10:* rwm")
    return text


def apply(security: Security, spec: dict[str, Any], *, rootless: bool) -> None:
    """Puts devices, and rules for them, into a runtime spec. Raises Invalid and Unsupported."""
    linux = spec["linux"]
    nodes = {entry["path"]: entry for entry in linux.get("devices") or ()}
    rules = []
    for source, target, permissions in security.devices:
        for path, inside in defaults.device_nodes(source, target):
            nodes[inside] = {"path": inside, "source": path}
            rules.append(defaults.device_rule(path, permissions))
    linux["devices"] = list(nodes.values())
    some = next((each for each in security.devices if set(each[2]) != set("rwm")), None)
    if security.privileged or not (some or security.device_rules):
        return  # which devices there are nodes for decides
    if rootless:
        asked = f"--device {':'.join(some)}" if some else "--device-cgroup-rule"
        raise Unsupported(f"{asked}: an ordinary user cannot say what may be done with a device")
    linux["resources"]["devices"] = [*defaults.device_rules(), *rules, *map(_rule, security.device_rules)]
    linux["ownNodes"] = bool(security.device_rules)


def _rule(text: str) -> dict[str, Any]:
    kind, major, minor, access = _RULE.fullmatch(text).groups()  # type: ignore[union-attr]
    numbers = {key: -1 if value == "*" else int(value) for key, value in (("major", major), ("minor", minor))}
    return {"allow": True, "type": kind, **numbers, "access": access}
