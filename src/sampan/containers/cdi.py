"""Devices that their vendors describe: the Container Device Interface (github.com/cncf-tags/container-device-interface,
SPEC.md 1.1). A device is a set of edits to a container's runtime spec: nodes, mounts, variables, groups and hooks.

The files are read anew at each start, as a driver that was updated writes them anew.
"""

from __future__ import annotations

import os
import re

from sampan.errors import Invalid, NotFound, Unsupported
from sampan.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
"""Where drivers put their files; what is in a later one counts before what is in an earlier one."""
GPU = "nvidia.com/gpu"
_LIMIT = 16 << 20
_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)/([A-Za-z][A-Za-z0-9_.-]*)=([A-Za-z0-9][A-Za-z0-9_.:-]*)", re.ASCII)
_FIELDS = {
    "": {"cdiVersion", "kind", "annotations", "devices", "containerEdits"},
    "device": {"name", "annotations", "containerEdits"},
    "containerEdits": {"env", "deviceNodes", "mounts", "hooks", "additionalGids"},
    "deviceNode": {"path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid"},
    "mount": {"hostPath", "containerPath", "type", "options"},
    "hook": {"hookName", "path", "args", "env", "timeout"},
}
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def is_name(text: str) -> bool:
    """Whether ``text`` is the full name of a device, vendor.com/class=name, and no path."""
    return _NAME.fullmatch(text) is not None


def parse_gpus(text: str) -> tuple[str, ...]:
    """``--gpus`` (docker/cli, opts/gpus.go): ``all``, a number, ``device=0,1``, ``count=2,driver=nvidia``; as devices'
    names. Raises Invalid, and Unsupported for what the interface has no word for."""
    import csv

    fields: dict[str, str] = {}
    for word in next(csv.reader([text]), []):
        key, equals, value = word.partition("=")
        key, value = (key, value) if equals else ("count", key)
        if key in fields:
            raise Invalid(f"invalid --gpus {text!r}: {key} is given twice")
        fields[key] = value
    unknown = fields.keys() - {"count", "device", "driver", "capabilities"}
    if "options" in unknown or fields.get("driver", "nvidia") not in ("", "nvidia", "cdi"):
        raise Unsupported(f"--gpus {text!r}: only nvidia's driver is known, and no options", hint=_HINT)
    if unknown or ("count" in fields and "device" in fields):
        raise Invalid(f"invalid --gpus {text!r}", hint="all, a number, or device=0,1 in quotes of its own")
    if "device" in fields:
        return tuple(f"{GPU}={name}" for name in fields["device"].split(","))
    count = fields.get("count", "1")
    if count in ("all", "-1"):
        return (f"{GPU}=all",)
    if not count.isascii() or not count.isdigit() or len(count) > 3:
        raise Invalid(f"invalid --gpus {text!r}: {count!r} is no number of them", hint="all, or a number")
    return tuple(f"{GPU}={number}" for number in range(int(count)))


_HINT = "--device vendor.com/class=name takes what a file in /etc/cdi describes"


def apply(names: Sequence[str], directories: Iterable[str], spec: dict[str, Any]) -> None:
    """Makes the edits of devices in a runtime spec. Raises NotFound for one that nothing describes, Invalid for files
    that make no sense, and Unsupported for edits that cannot be made."""
    found = _Library(directories)
    edited: list[int] = []
    for name in names:
        file, device = found.device(name)
        if id(file) not in edited:  # what all devices of a file need, once
            edited.append(id(file))
            _edit(file.get("containerEdits") or {}, spec, name)
        _edit(device.get("containerEdits") or {}, spec, name)


class _Library:
    """What the files in some directories describe."""

    __slots__ = ("_devices", "_directories", "_wrong")

    def __init__(self, directories: Iterable[str]) -> None:
        self._directories = tuple(directories)
        self._wrong: Invalid | None = None
        self._devices: dict[str, tuple[dict[str, Any], dict[str, Any]] | None] = {}
        for directory in self._directories:
            self._devices |= self._in_directory(directory)

    def device(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The file that describes a device, and the device."""
        found = self._devices.get(name)
        if found:
            return found
        if name in self._devices:
            raise Invalid(f"several files describe the device {name}")
        if self._wrong:
            raise self._wrong
        kind = name.partition("=")[0]
        known = sorted(each for each in self._devices if each.partition("=")[0] == kind)
        where = " or ".join(self._directories)
        if known:
            raise NotFound(f"there is no device {name}", hint=f"there are {', '.join(known)}")
        hint = f"a driver puts one there that describes {kind}"
        if kind == GPU:
            hint = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml makes it (package nvidia-container-toolkit)"
        raise NotFound(f"no file in {where} describes the device {name}", hint=hint)

    def _in_directory(self, directory: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]] | None]:
        found: dict[str, tuple[dict[str, Any], dict[str, Any]] | None] = {}
        for path in _files(directory):
            try:
                file = _read(path)
                for device in file["devices"]:
                    name = f"{file['kind']}={device['name']}"
                    found[name] = None if name in found else (file, device)
            except Invalid as error:  # of one who is not asked for, perhaps
                self._wrong = self._wrong or error
        return found


def _files(directory: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Invalid(f"cannot read the directory {directory}: {error.strerror}") from None
    yield from (f"{directory}/{name}" for name in names if name.endswith((".json", ".yaml", ".yml")))


def _read(path: str) -> dict[str, Any]:
    """A file, checked as far as it is the same for all its devices. Raises Invalid naming it."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LIMIT)
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    value = _parse(text, path)
    if not isinstance(value, dict):
        raise Invalid(f"{path} is no specification of devices")
    _check(value, "", path)
    devices = value.get("devices")
    if not isinstance(devices, list) or not isinstance(value.get("cdiVersion"), str):
        raise Invalid(f"{path} has no cdiVersion, or no list of devices")
    for device in devices:
        _check(device, "device", path)
        if not is_name(f"{value.get('kind')}={device.get('name')}"):
            raise Invalid(f"{path}: {value.get('kind')}={device.get('name')} is no name of a device")
    return value


def _parse(text: str, path: str) -> Any:
    if path.endswith(".json"):
        import json

        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"{path} is not JSON: {error}") from None
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid(f"{path} is not YAML: {' '.join(str(error).split())}") from None


def _check(value: Any, kind: str, where: str) -> None:
    """Raises unless ``value`` is an object with fields that are known: one that is not would be left undone."""
    if not isinstance(value, dict):
        raise Invalid(f"{where}: {kind or 'it'} is of the wrong form: {value!r}")
    unknown = value.keys() - _FIELDS[kind]
    if unknown:
        raise Unsupported(f"{where}: the field {min(unknown)} is not supported")


def _edit(edits: dict[str, Any], spec: dict[str, Any], name: str) -> None:
    _check(edits, "containerEdits", name)
    process = spec["process"]
    for entry in edits.get("env") or ():
        key = entry.partition("=")[0]
        process["env"] = [each for each in process["env"] if each.partition("=")[0] != key] + [entry]
    for node in edits.get("deviceNodes") or ():
        _add_node(node, spec["linux"], name)
    for mount in edits.get("mounts") or ():
        spec["mounts"].append(_mount(mount, name))
    for hook in edits.get("hooks") or ():
        _add_hook(hook, spec, name)
    groups = process["user"]["additionalGids"]
    groups += [gid for gid in edits.get("additionalGids") or () if gid and gid not in groups]


def _add_node(node: dict[str, Any], linux: dict[str, Any], name: str) -> None:
    _check(node, "deviceNode", name)
    inside = _path(node, "path", name)
    source = node.get("hostPath") or inside
    if not os.path.exists(source):
        raise NotFound(f"the device {name} has no {source} on this machine", hint="is its driver loaded?")
    devices = linux.setdefault("devices", [])
    devices[:] = [each for each in devices if each["path"] != inside] + [{"path": inside, "source": source}]
    rules = linux["resources"].get("devices")
    if rules:
        rules.append(defaults.device_rule(source, node.get("permissions") or "rwm"))


def _mount(mount: dict[str, Any], name: str) -> dict[str, Any]:
    _check(mount, "mount", name)
    source, target = _path(mount, "hostPath", name), _path(mount, "containerPath", name)
    options = mount.get("options") or ["rbind", "ro"]
    return defaults.bind(source, target, *(options if {"bind", "rbind"} & {*options} else ["rbind", *options]))


def _add_hook(hook: dict[str, Any], spec: dict[str, Any], name: str) -> None:
    _check(hook, "hook", name)
    if hook.get("hookName") not in _HOOKS:
        raise Invalid(f"the device {name} has a hook {hook.get('hookName')!r}", hint=f"one of {', '.join(_HOOKS)}")
    if hook["hookName"] in ("poststart", "poststop"):
        raise Unsupported(f"the device {name} has a {hook['hookName']} hook, for which nobody waits here")
    entry = {key: hook[key] for key in ("path", "args", "env", "timeout") if hook.get(key)}
    spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(entry)


def _path(value: dict[str, Any], key: str, name: str) -> str:
    path = value.get(key)
    if not isinstance(path, str) or not path.startswith("/"):
        raise Invalid(f"the device {name}: {key} is not an absolute path: {path!r}")
    return path
