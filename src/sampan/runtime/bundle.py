"""A bundle of the OCI runtime specification (runtime-spec 1.2, config.md and config-linux.md) as a job for the first
process: what is relative is resolved, what this runtime lacks is refused by name."""

from __future__ import annotations

import os
import stat

from sampan import plainjson
from sampan.errors import Invalid, NotFound, Unsupported
from sampan.linux import ids, namespaces, seccomp, syscalls
from sampan.runtime import attributes, hooks, idmaps, init, listener, nodes, parent, rootfs, shape
from sampan.runtime.cgroups import container
from sampan.runtime.idmaps import Maps
from sampan.runtime.rootfs import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 8 << 20
_VERSION = (1, 2)
_DEVICE_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_OWN_FILESYSTEMS = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2")


def read(directory: str) -> tuple[dict[str, Any], bytes]:
    """The spec of the bundle in ``directory``, and its bytes. Raises NotFound, Invalid, Unsupported."""
    path = os.path.join(directory, "config.json")
    try:
        with open(path, "rb") as file:
            text = file.read(_LIMIT + 1)
    except OSError as error:
        raise NotFound(
            f"cannot read the bundle's {path}: {os.strerror(error.errno or 0)}", hint="--bundle names its directory"
        ) from None
    if len(text) > _LIMIT:
        raise Invalid(f"{path} is larger than {_LIMIT >> 20} MiB")
    spec = parse(text, path)
    check(spec)
    return spec, text


def parse(text: bytes, path: str) -> dict[str, Any]:
    """The JSON object in ``text``. Raises Invalid naming ``path``."""
    try:
        value = plainjson.loads(text)
    except ValueError as error:
        raise Invalid(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Invalid(f"{path} is not a JSON object")
    found: dict[str, Any] = _without_nulls(value)
    return found


def _without_nulls(value: Any) -> Any:
    """A property that is null is one that is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def check(spec: dict[str, Any]) -> None:
    """Raises Invalid or Unsupported for a spec that cannot be carried out as it stands."""
    shape.check(spec, shape.SPEC, "")
    version = str(spec["ociVersion"])
    numbers = version.split("-")[0].split(".")
    if len(numbers) != 3 or not all(number.isdigit() for number in numbers) or int(numbers[0]) != _VERSION[0]:
        raise Invalid(f"the bundle's ociVersion {version!r} is not one of 1.0.0 to 1.2")
    for key in ("vm", "windows", "solaris", "zos"):
        if spec.get(key):
            raise Unsupported(f"the bundle's {key!r} settings are for another platform")
    linux = spec.get("linux") or {}
    for key in ("intelRdt", "memoryPolicy", "netDevices"):
        if linux.get(key):
            raise Unsupported(f"linux.{key} is not supported")
    kinds = {parent.kind_of(each) for each in linux.get("namespaces") or ()}
    apart = namespaces.apart(linux.get("namespaces") or [])
    for key in ("hostname", "domainname"):
        if spec.get(key) and "uts" not in apart:
            raise Invalid(f"the {key} would be the host's: the container has no uts namespace of its own")
    if linux.get("timeOffsets") and "time" not in kinds:
        raise Invalid("timeOffsets need a time namespace")
    check_process(spec.get("process") or {}, linux)


def check_process(process: dict[str, Any], linux: dict[str, Any]) -> None:
    """As ``check``, for the process alone."""
    shape.check(process, shape.PROCESS, "process")
    if not process.get("args"):
        raise Invalid("process.args is missing, or empty")
    if not str(process.get("cwd") or "").startswith("/"):
        raise Invalid(f"process.cwd {process.get('cwd')!r} is not absolute")
    attributes.check(process, linux)


def job(
    spec: dict[str, Any], directory: str, cgroup_path: str, ending: init.Ending, inside: hooks.Inside
) -> tuple[init.Job, Maps | None]:
    """What the first process of the bundle in ``directory`` is to do, and the ids of its user namespace.

    Makes the cgroup, unless ``cgroup_path`` is "": then ``settle`` will. Opens the namespaces that are joined.
    """
    linux = spec.get("linux") or {}
    flags = parent.flags(linux)
    maps = _maps(linux) if flags & syscalls.CLONE_NEWUSER else None
    resources, required = _resources(linux)
    job = init.Job(
        process=ending.process,
        hostname=spec.get("hostname") or "",
        domainname=spec.get("domainname") or "",
        root=os.fsencode(root(spec, directory)),
        root_readonly=bool(spec["root"].get("readonly")),
        overlay=None,
        operations=tuple(_operations(spec, directory, maps)),
        flags=flags,
        joined=parent.joined(linux),
        cgroup=(),
        ending=ending,
        user=0 if maps and any(each.inside == 0 for each in maps.uids) else None,
        offsets=attributes.offsets(linux),
        hooks=inside,
        propagation=rootfs.propagation(linux.get("rootfsPropagation") or ""),
        scoped=not cgroup_path,
    )
    if not cgroup_path:
        return job, maps
    # Last, when nothing is wrong with the rest.
    cgroup = container.make(container.plan(cgroup_path, resources, every=True), resources, required=required)
    return job._replace(cgroup=cgroup), maps


def settle(spec: dict[str, Any], name: str, pid: int) -> tuple[str, container.Cgroup]:
    """Has systemd put process ``pid`` of container ``name`` into a new scope, and sets the limits; where it is then.

    Raises Unavailable and Invalid.
    """
    from sampan.runtime.cgroups import systemd

    linux = spec.get("linux") or {}
    unit, slice_ = systemd.parse(linux.get("cgroupsPath") or "", name)
    resources, required = _resources(linux)
    properties = systemd.properties(resources) + systemd.annotated(spec.get("annotations") or {})
    path = systemd.start_scope(unit, slice_, pid, properties, "A container of sampan-runtime's")
    return path, container.make(container.plan(path, resources, every=True), resources, required=required)


def root(spec: dict[str, Any], directory: str) -> str:
    """The absolute path of the root file system."""
    path = os.path.join(directory, spec["root"]["path"])
    if not os.path.isdir(path):
        raise NotFound(f"the bundle's root {path} is not a directory")
    return os.path.realpath(path)


def filter_of(linux: dict[str, Any]) -> tuple[bytes, int] | None:
    """The compiled seccomp profile and its flags. Raises Invalid, Unsupported."""
    profile = linux.get("seccomp")
    if not profile:
        return None
    answered = listener.of(profile) is not None
    return seccomp.compile(profile, os.uname().machine, listener=answered), seccomp.filter_flags(profile)


def _maps(linux: dict[str, Any]) -> Maps:
    maps = idmaps.of(linux)
    if not maps.uids or not maps.gids:
        raise Invalid("a new user namespace needs linux.uidMappings and linux.gidMappings")
    return maps


def _operations(spec: dict[str, Any], directory: str, maps: Maps | None) -> list[Operation]:
    linux = spec.get("linux") or {}
    kinds = {each["type"] for each in linux.get("namespaces") or ()}
    operations = [
        rootfs.planned(_resolved(mount, directory, maps), cgroup_namespace="cgroup" in kinds)
        for mount in spec.get("mounts") or ()
    ]
    # Where the host's /dev is shown, nothing is to be made in it.
    if not any(isinstance(each, rootfs.Bind) and os.path.normpath(each.target) == "/dev" for each in operations):
        operations += _devices(linux, makes="user" not in kinds and ids.in_initial_user_namespace())
    return operations + rootfs.hidden(linux)


def _resolved(mount: dict[str, Any], directory: str, maps: Maps | None) -> dict[str, Any]:
    """A mount whose source is absolute if it is a file, and whose ids are a user namespace if it maps any."""
    if not mount.get("destination"):
        raise Invalid(f"a mount has no destination: {mount}")
    words, kind, source = mount.get("options") or [], mount.get("type") or "bind", mount.get("source")
    mapped = idmaps.of(mount)
    if mapped.uids or mapped.gids or {"idmap", "ridmap"} & set(words):
        mapped = mapped if mapped.uids and mapped.gids else maps or mapped
        if not mapped.uids or not mapped.gids:
            raise Invalid(f"the mount at {mount['destination']} is to map ids, and says not which")
        mount = {**mount, "ids": idmaps.namespace(mapped)}
    if kind == "bind" or {"bind", "rbind"} & set(words):
        return {**mount, "source": os.path.join(directory, source)} if source else mount
    if kind not in _OWN_FILESYSTEMS and source:
        return {**mount, "options": [*words, f"source={source}"]}
    return mount


def _devices(linux: dict[str, Any], *, makes: bool) -> list[Operation]:
    """What /dev has; bound from the host where no nodes can be made."""
    wanted: dict[str, dict[str, Any]] = {
        f"/dev/{name}": {"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor}
        for name, major, minor in nodes.STANDARD
    }
    for entry in linux.get("devices") or ():
        if not str(entry.get("path") or "").startswith("/") or entry.get("type") not in _DEVICE_TYPES:
            raise Invalid(f"a device needs a path and a type of {', '.join(_DEVICE_TYPES)}: {entry}")
        wanted[os.path.normpath(entry["path"])] = entry
    made: list[Operation] = [
        _node(path, entry) if makes else rootfs.Device(path, path) for path, entry in wanted.items()
    ]
    return made + [rootfs.Link(*link) for link in rootfs.DEVICE_LINKS]


def _node(path: str, entry: dict[str, Any]) -> Operation:
    mode = 0o666 if entry.get("fileMode") is None else entry["fileMode"] & 0o7777
    numbers = os.makedev(entry.get("major") or 0, entry.get("minor") or 0)
    return rootfs.Node(
        path, mode | _DEVICE_TYPES[entry["type"]], numbers, (entry.get("uid") or 0, entry.get("gid") or 0)
    )


def _resources(linux: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The limits, and whether the container is not to be without them."""
    resources = dict(linux.get("resources") or {})
    rules = resources.pop("devices", None)
    privileged = os.geteuid() == 0 and ids.in_initial_user_namespace()
    required = privileged or any(resources.values())
    if rules and privileged:
        resources["devices"] = [*rules, *nodes.allowed()]
    return resources, required
