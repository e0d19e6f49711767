"""What someone asks of a container, as a value: made by the command line or the API, kept with the container."""

from __future__ import annotations

from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple


class Mount(NamedTuple):
    """One ``-v``: a host's directory or file (``source`` absolute), a named volume, or ("" as source) a new one.

    ``fill`` is whether a new volume gets what the image has there, ``recursive`` whether what is mounted below the
    source is shown too, and ``deep`` whether that is read-only too. ``subpath`` is a path below the source.
    """

    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"
    fill: bool = True
    recursive: bool = True
    deep: bool = True
    subpath: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class ImageMount(NamedTuple):
    """An image's files in a container, which may change them for itself. ``chain`` is the chain id of its layers."""

    image: str
    chain: str
    target: str
    read_only: bool = False
    subpath: str = ""


class Limits(NamedTuple):
    """What a container may use at most; 0 and "" are no limit. Sizes are in bytes, times in microseconds.

    ``swap`` counts memory and swap together and is -1 for unlimited; ``ulimits`` are (name, soft, hard), -1: unlimited.
    ``device_weights`` are (path of a block device, weight), ``throttles`` (flag, path of a block device, rate).
    """

    memory: int = 0
    swap: int = 0
    reservation: int = 0
    shares: int = 0
    period: int = 0
    quota: int = 0
    cpus: str = ""
    mems: str = ""
    blkio_weight: int = 0
    pids: int = 0
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()
    swappiness: int | None = None
    realtime_period: int = 0
    realtime_runtime: int = 0
    device_weights: tuple[tuple[str, int], ...] = ()
    throttles: tuple[tuple[str, str, int], ...] = ()


class Security(NamedTuple):
    """How far a container is opened or closed beyond the default. Capabilities are names as given (``NET_ADMIN``).

    ``seccomp`` is "", "unconfined" or the text of a profile; ``devices`` are (on the host, inside, permissions),
    ``device_rules`` as cgroups write them ("c 1:3 rwm"). ``cdi`` are devices' full names (vendor.com/class=name), which
    files in ``cdi_directories`` describe.
    """

    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: str = ""
    open_system_paths: bool = False
    read_only: bool = False
    devices: tuple[tuple[str, str, str], ...] = ()
    device_rules: tuple[str, ...] = ()
    cdi: tuple[str, ...] = ()
    cdi_directories: tuple[str, ...] = ()


class Namespaces(NamedTuple):
    """Which namespaces a container has: "" its own, "host", or "container:ID" that of another one.

    ``ipc`` "shareable" is one of its own that others may join, "none" one without /dev/shm. ``user`` is "", or has the
    ids that the caller has in the container: "keep-id:1000:1000".
    """

    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroup: str = ""
    network: str = ""
    user: str = ""


class Joining(NamedTuple):
    """A place in a bridge network, and what it is to be like: "" for the address and the MAC address that are free."""

    network: str
    aliases: tuple[str, ...] = ()
    address: str = ""
    mac: str = ""


class Logging(NamedTuple):
    """Where what a container says is kept: json-file, local or none, the driver's options, and what goes with every
    line (settled at creation)."""

    driver: str = "json-file"
    options: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


class Restart(NamedTuple):
    """Whether a container is started again when it ends: no, always, unless-stopped, or on-failure, ``most`` times (0:
    any number)."""

    name: str = "no"
    most: int = 0

    @property
    def text(self) -> str:
        """As the flag has it."""
        return f"{self.name}:{self.most}" if self.most else self.name


class Healthcheck(NamedTuple):
    """How a container's health is asked for: ``test`` as images have it, times in nanoseconds, 0 for the default;
    ``command`` is what is executed, settled at creation, () for nothing."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0
    command: tuple[str, ...] = ()


class Options(NamedTuple):
    """Everything that can be asked of a container, with Docker's defaults.

    ``runtime`` is another OCI runtime's name or path, "" for sampan's own.
    ``command`` and ``entrypoint`` are None where the image's own count. ``ports`` holds the texts of ``-p``; ``user``
    and ``workdir`` are as written, "" for the image's. ``args`` is what is executed, settled at creation. ``tmpfs``
    are (target, options), ``hosts`` (name, address), ``dns`` the name servers, search domains and options.
    ``networks`` says more of the bridge networks that it is in; ``attach`` are the streams of ``-a``.
    """

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    network: str = "bridge"
    ports: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: str = ""
    stop_seconds: int = 10
    interactive: bool = False
    terminal: bool = False
    auto_remove: bool = False
    args: tuple[str, ...] = ()
    limits: Limits = Limits()
    security: Security = Security()
    namespaces: Namespaces = Namespaces()
    tmpfs: tuple[tuple[str, str], ...] = ()
    shm_bytes: int = 0
    sysctls: tuple[tuple[str, str], ...] = ()
    groups: tuple[str, ...] = ()
    umask: int = 0o022
    domainname: str = ""
    hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = ((), (), ())
    annotations: tuple[tuple[str, str], ...] = ()
    init: bool = False
    cgroup_parent: str = ""
    runtime: str = ""
    health: Healthcheck = Healthcheck()
    images: tuple[ImageMount, ...] = ()
    networks: tuple[Joining, ...] = ()
    attach: tuple[str, ...] = ()
    logging: Logging = Logging()
    restart: Restart = Restart()
    storage_bytes: int = 0

    @property
    def is_bridged(self) -> bool:
        """Whether it has a network of its own that leads somewhere."""
        return self.network not in ("host", "none") and not self.network.startswith("container:")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Options:
        """The inverse of ``_asdict`` followed by JSON; fields that are not there get their defaults, and those that
        another version of sampan knew are nothing to this one."""
        value = {name: item for name, item in value.items() if name in cls._fields}
        return cls(
            **{
                **value,
                "command": _texts(value.get("command")),
                "entrypoint": _texts(value.get("entrypoint")),
                "env": tuple(value.get("env") or ()),
                "mounts": tuple(Mount(*_settled(mount)) for mount in value.get("mounts") or ()),
                "images": tuple(ImageMount(*mount) for mount in value.get("images") or ()),
                "args": tuple(value.get("args") or ()),
                "ports": tuple(value.get("ports") or ()),
                **{name: tuple(tuple(pair) for pair in value.get(name) or ()) for name in _PAIRS},
                "limits": Limits(*_settled(value.get("limits"))),
                "security": Security(*_settled(value.get("security"))),
                "namespaces": Namespaces(*value.get("namespaces") or ()),
                "groups": tuple(value.get("groups") or ()),
                "networks": tuple(Joining(*_settled(each)) for each in value.get("networks") or ()),
                "attach": tuple(value.get("attach") or ()),
                "health": Healthcheck(*_settled(value.get("health"))),
                "restart": Restart(*value.get("restart") or ()),
                "logging": Logging(*_settled(value.get("logging"))),
                "dns": tuple(tuple(words) for words in value.get("dns") or ((), (), ())),
            }
        )


def parse_volume(text: str) -> Mount:
    """``-v``: ``/container``, ``SOURCE:/container`` or ``SOURCE:/container:OPTIONS``. Raises Invalid.

    SOURCE is an absolute path, one that begins with ``.`` or ``~`` (resolved by the caller's directory), or a name.
    """
    import os

    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise Invalid(f"invalid volume {text!r}", hint="write it as -v SOURCE:/path/in/container[:ro]")
    source, target, words = ("", parts[0], "") if len(parts) == 1 else (parts[0], parts[1], "".join(parts[2:]))
    if not target.startswith("/"):
        raise Invalid(f"invalid volume {text!r}: {target!r} is not an absolute path in the container")
    if os.path.normpath(target) == "/":
        raise Invalid(f"invalid volume {text!r}: the destination cannot be /")
    if source.startswith(("/", ".", "~")):
        source = os.path.abspath(os.path.expanduser(source))
    elif source:
        check_volume_name(source)
    read_only, propagation = _volume_words(words, text)
    return Mount(source, os.path.normpath(target), read_only, propagation, "nocopy" not in words.split(","))


def check_volume_name(name: str) -> str:
    """Docker's rule for names of volumes. Raises Invalid."""
    allowed = name[:1].isalnum() and len(name) > 1 and all(letter.isalnum() or letter in "_.-" for letter in name)
    if not name.isascii() or not allowed:
        raise Invalid(
            f"{name!r} is not a volume's name",
            hint="letters, digits, _ . and -, two at least; a directory of the host begins with / or ./",
        )
    return name


_VOLUME_WORDS = {  # of which only one can be given
    **dict.fromkeys(("ro", "readonly", "rw"), "mode"),
    **dict.fromkeys(("private", "rprivate", "slave", "rslave", "shared", "rshared"), "propagation"),
    **dict.fromkeys(("z", "Z"), "label"),
    **dict.fromkeys(("cached", "delegated", "consistent"), "consistency"),
}


def _volume_words(words: str, text: str) -> tuple[bool, str]:
    read_only, propagation = False, "rprivate"
    given: set[str] = set()
    for word in words.split(",") if words else ():
        kind = _VOLUME_WORDS.get(word, word)
        if kind in given:
            raise Invalid(f"invalid volume {text!r}: {word!r} says again, or otherwise, what was said before")
        given.add(kind)
        if word in ("ro", "readonly"):
            read_only = True
        elif word in ("private", "rprivate", "slave", "rslave", "shared", "rshared"):
            propagation = word
        elif word not in ("rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"):
            raise Invalid(f"invalid volume {text!r}: unknown option {word!r}")
    return read_only, propagation


_PAIRS = ("labels", "tmpfs", "sysctls", "hosts", "annotations")


def _settled(values: list[Any] | None) -> list[Any]:
    """Fields as JSON gives them back, with its lists as tuples again."""
    return [
        tuple(tuple(each) if isinstance(each, list) else each for each in value) if isinstance(value, list) else value
        for value in values or ()
    ]


def _texts(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)
