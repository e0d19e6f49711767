"""The flags of ``run`` and ``create`` that say how a container is isolated."""

from sampan.cli import consumption
from sampan.cli.flags import Flag
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.context import Context
    from sampan.cli.flags import Parsed
    from sampan.containers.options import Namespaces, Security

_FLAGS = (
    Flag("--cap-add list", "Add Linux capabilities"),
    Flag("--cap-drop list", "Drop Linux capabilities"),
    Flag("--cgroup-parent string", "Optional parent cgroup for the container"),
    Flag("--cgroupns string", "Cgroup namespace to use: host or private", "private"),
    Flag("--cdi-spec-dir list", "Where files describe devices (default /etc/cdi and /var/run/cdi)"),
    Flag("--device list", "Add a host device to the container, by its path or its name (vendor.com/class=name)"),
    Flag("--device-cgroup-rule list", "Add a rule to the cgroup allowed devices list"),
    Flag("--gpus string", "GPU devices to add to the container ('all' to pass all GPUs)"),
    Flag("--group-add list", "Add additional groups to join"),
    Flag("--init", "Run an init inside the container that forwards signals and reaps processes"),
    Flag("--ipc string", "IPC mode to use: private, shareable, none, host or container:NAME"),
    Flag("--pid string", "PID namespace to use: host or container:NAME"),
    Flag("--privileged", "Give extended privileges to this container"),
    Flag("--read-only", "Mount the container's root filesystem as read only"),
    Flag("--security-opt list", "Security options: no-new-privileges, seccomp=FILE, systempaths=unconfined, …"),
    Flag("--sysctl list", "Sysctl options"),
    Flag("--tmpfs list", "Mount a tmpfs directory"),
    Flag("--umask string", "The umask of the container's program, in octal", "0022"),
    Flag("--userns string", "User namespace to use: host, or keep-id for an ordinary user to have his own id"),
    Flag("--uts string", "UTS namespace to use: host"),
)
FLAGS = (*_FLAGS, *consumption.FLAGS)


def read(arguments: "Parsed", context: "Context") -> "dict[str, Any]":
    """The fields of ``Options`` that these flags set; only what was given loads anything."""
    names = {flag.long for flag in FLAGS}
    if not any(name in names for name, _ in arguments.given()):
        return {}
    fields: dict[str, Any] = {
        **consumption.read(arguments, context),
        "security": _security(arguments),
        "namespaces": _namespaces(arguments, context),
        "cgroup_parent": _cgroup_parent(arguments.text("cgroup-parent") or ""),
        "tmpfs": tuple(_tmpfs(text) for text in arguments.texts("tmpfs")),
        "groups": tuple(arguments.texts("group-add")),
        "umask": _umask(arguments.text("umask") or "0022"),
        "init": arguments.on("init"),
        "sysctls": tuple(_sysctl(text) for text in arguments.texts("sysctl")),
    }
    return fields


def _security(arguments: "Parsed") -> "Security":
    from sampan.containers import security
    from sampan.containers.options import Security

    has_devices = any(name in arguments for name in ("device", "device-cgroup-rule", "gpus"))
    found = Security(
        cap_add=tuple(arguments.texts("cap-add")),
        cap_drop=tuple(arguments.texts("cap-drop")),
        privileged=arguments.on("privileged"),
        read_only=arguments.on("read-only"),
        **(_devices(arguments) if has_devices else {}),
        **security.parse_options(arguments.texts("security-opt")),
    )
    security.granted(found)
    return found


def _devices(arguments: "Parsed") -> "dict[str, Any]":
    from sampan.containers import cdi, devices

    texts, gpus = arguments.texts("device"), arguments.text("gpus")
    names = [text for text in texts if cdi.is_name(text)] + list(cdi.parse_gpus(gpus) if gpus else ())
    fields: dict[str, Any] = {
        "devices": tuple(devices.parse_device(text) for text in texts if not cdi.is_name(text)),
        "device_rules": tuple(devices.parse_rule(text) for text in arguments.texts("device-cgroup-rule")),
    }
    if names:
        from sampan import settings

        directories = arguments.texts("cdi-spec-dir") or settings.read().cdi_directories or cdi.DIRECTORIES
        fields |= {"cdi": tuple(names), "cdi_directories": tuple(directories)}
    return fields


def _namespaces(arguments: "Parsed", context: "Context") -> "Namespaces":
    from sampan.containers.options import Namespaces

    userns = arguments.text("userns") or ""
    if userns:
        from sampan.containers import keptids

        userns = keptids.parse(userns, rootless=context.engine.rootless)
    return Namespaces(
        user=userns,
        pid=_mode(arguments, "pid", ("host",), context),
        ipc=_mode(arguments, "ipc", ("host", "shareable", "none"), context),
        uts=_mode(arguments, "uts", ("host",)),
        cgroup=_mode(arguments, "cgroupns", ("host",)),
    )


def _mode(arguments: "Parsed", name: str, words: tuple[str, ...], context: "Context | None" = None) -> str:
    """A namespace as ``Namespaces`` has it; with ``context`` it may be another container's, whose id it then has."""
    text = arguments.text(name) or "private"
    other = text.removeprefix("container:")
    if context and other != text:
        return f"container:{context.engine.records.find(other).id}"
    if text not in ("private", *words):
        more = ("container:NAME",) if context else ()
        raise Invalid(f"invalid --{name} {text!r}", hint=", ".join(("private", *words, *more)))
    return "" if text == "private" else text


def _cgroup_parent(text: str) -> str:
    """A cgroup's path below each hierarchy's mount. Raises Invalid."""
    parts = [part for part in text.split("/") if part]
    if text and (not parts or any(part in (".", "..") or part.isspace() or "\0" in part for part in parts)):
        raise Invalid(f"invalid --cgroup-parent {text!r}", hint="the path of a cgroup, for example /services/batch")
    return "".join(f"/{part}" for part in parts)


def _tmpfs(text: str) -> tuple[str, str]:
    from sampan.containers.spec import check_target

    target, _, words = text.partition(":")
    known = ("rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "relatime", "noatime")
    for word in words.split(",") if words else ():
        if word not in known and not word.startswith(("size=", "mode=", "uid=", "gid=", "nr_inodes=")):
            raise Invalid(f"invalid --tmpfs {text!r}: unknown option {word!r}")
    return check_target(target), words


def _umask(text: str) -> int:
    if not text.isascii() or not text.isdigit() or set(text) - set("01234567") or int(text, 8) > 0o777:
        raise Invalid(f"invalid --umask {text!r}", hint="an octal number, for example 0027")
    return int(text, 8)


def _sysctl(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise Invalid(f"invalid --sysctl {text!r}", hint="write it as NAME=VALUE")
    return key, value
