"""How a container is opened or closed: capabilities, seccomp, devices, masked paths; what that becomes in the spec."""

from __future__ import annotations

import os

from sampan.containers.options import Security
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.linux import capabilities
from sampan.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


def granted(security: Security) -> list[str]:
    """The capabilities that a container's bounding set has (moby, oci/caps). Raises Invalid for an unknown one."""
    known = [name for number, name in enumerate(capabilities.NAMES) if capabilities.bounding() >> number & 1]
    if security.privileged:
        return known
    add, drop = _names(security.cap_add), _names(security.cap_drop)
    if "ALL" in add:
        return [name for name in known if name not in drop]
    base = [] if "ALL" in drop else [name for name in defaults.CAPABILITIES if name not in drop]
    return base + [name for name in add if name not in base and name != "ALL"]


def _names(words: Iterable[str]) -> list[str]:
    names = []
    for word in words:
        name = word.upper()
        if name != "ALL" and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != "ALL" and name not in capabilities.NUMBERS:
            raise Invalid(f"{word!r} is not a capability", hint="for example NET_ADMIN, SYS_PTRACE or ALL")
        names.append(name)
    return names


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """``--security-opt`` as fields of ``Security``. Raises Invalid, Unsupported and NotFound (a profile's file)."""
    fields: dict[str, Any] = {}
    for word in words:
        separator = "=" if "=" in word else ":"
        key, _, value = word.partition(separator)
        if key == "no-new-privileges" and value in ("", "true", "false"):
            fields["no_new_privileges"] = value != "false"
        elif key == "seccomp" and value:
            fields["seccomp"] = value if value in ("unconfined", "builtin") else _read_profile(value)
        elif word == "systempaths=unconfined":
            fields["open_system_paths"] = True
        elif key == "apparmor" and value:
            _check_apparmor(value)
        elif key == "label":
            _check_label(value)
        else:
            raise Invalid(
                f"invalid --security-opt {word!r}",
                hint="no-new-privileges, seccomp=FILE, seccomp=unconfined or systempaths=unconfined",
            )
    if fields.get("seccomp") == "builtin":
        fields["seccomp"] = ""
    return fields


def _read_profile(path: str) -> str:
    from sampan import plainjson

    try:
        with open(path, "rb") as file:
            text = file.read(1 << 20).decode()
        plainjson.loads(text)
    except OSError as error:
        raise NotFound(f"cannot read the seccomp profile {path}: {error.strerror}") from None
    except ValueError as error:
        raise Invalid(f"the seccomp profile {path} is not JSON: {error}") from None
    return text


def _check_apparmor(profile: str) -> None:
    if profile == "unconfined":
        return
    if not os.path.isdir("/sys/kernel/security/apparmor"):
        raise Unsupported(f"--security-opt apparmor={profile}: this machine's kernel has no AppArmor")
    raise Unsupported("profiles of AppArmor are not built yet", hint="apparmor=unconfined is")


def _check_label(value: str) -> None:
    if value == "disable" or not os.path.isdir("/sys/fs/selinux"):
        return
    raise Unsupported("labels of SELinux are not built yet", hint="label=disable is")


def apply(security: Security, spec: dict[str, Any], *, rootless: bool) -> None:
    """Puts security options into a runtime spec. Raises Invalid and Unsupported."""
    process, linux = spec["process"], spec["linux"]
    if security.privileged:
        defaults.open_up(spec)
    names = granted(security)
    effective = names if process["user"]["uid"] == 0 else []
    process["capabilities"] |= {"bounding": names, "effective": effective, "permitted": effective}
    if security.no_new_privileges:
        process["noNewPrivileges"] = True
    spec["root"]["readonly"] = security.read_only
    if security.seccomp or not security.privileged:
        _apply_seccomp(security, linux, names)
    if security.open_system_paths:
        linux["maskedPaths"], linux["readonlyPaths"] = [], []
    if security.devices or security.device_rules:
        from sampan.containers import devices

        devices.apply(security, spec, rootless=rootless)


def _apply_seccomp(security: Security, linux: dict[str, Any], names: list[str]) -> None:
    if security.seccomp == "unconfined":
        linux["seccomp"] = None
        return
    from sampan import plainjson

    linux["seccomp"] = defaults.seccomp(names, plainjson.loads(security.seccomp) if security.seccomp else None)
