"""What ``run`` (and later ``create``) take to describe a container, and how that becomes one."""

import os
import sys

from sampan.cli.flags import Flag
from sampan.errors import Conflict, Invalid, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.context import Context
    from sampan.cli.flags import Parsed
    from sampan.containers.lifecycle import Stores
    from sampan.containers.options import Options
    from sampan.containers.record import Container
    from sampan.store.images import Image

FLAGS = (
    Flag("-e, --env list", "Set environment variables"),
    Flag("--entrypoint string", "Overwrite the default ENTRYPOINT of the image"),
    Flag("--env-file list", "Read in a file of environment variables"),
    Flag("-h, --hostname string", "Container host name"),
    Flag("-i, --interactive", "Keep STDIN open even if not attached"),
    Flag("-l, --label list", "Set meta data on a container"),
    Flag("--name string", "Assign a name to the container"),
    Flag("--network string", "Connect a container to a network: bridge, host or none", "bridge"),
    Flag("-p, --publish list", "Publish a container's port(s) to the host"),
    Flag("--pull string", "Pull image before running: always, missing or never", "missing"),
    Flag("--rm", "Automatically remove the container and its anonymous volumes when it exits"),
    Flag("--stop-signal string", "Signal to stop the container"),
    Flag("--stop-timeout int", "Timeout (in seconds) to stop a container"),
    Flag("-t, --tty", "Allocate a pseudo-TTY"),
    Flag("-u, --user string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    Flag("-v, --volume list", "Bind mount a volume"),
    Flag("-w, --workdir string", "Working directory inside the container"),
)
LATER = (
    "--add-host --annotation --attach -a --blkio-weight --cap-add --cap-drop --cgroup-parent --cgroupns --cidfile "
    "--cpu-period --cpu-quota --cpu-shares -c --cpus --cpuset-cpus --cpuset-mems --detach-keys --device "
    "--device-cgroup-rule --dns --dns-option --dns-search --domainname --expose --gpus --group-add --health-cmd "
    "--health-interval --health-retries --health-start-interval --health-start-period --health-timeout --init --ip "
    "--ip6 --ipc --isolation --kernel-memory --label-file --link --log-driver --log-opt --mac-address --memory -m "
    "--memory-reservation --memory-swap --memory-swappiness --mount --network-alias --no-healthcheck "
    "--oom-kill-disable --oom-score-adj --pid --pids-limit --platform --privileged --publish-all -P --quiet -q "
    "--read-only --restart --runtime --security-opt --shm-size --sig-proxy --storage-opt --sysctl --tmpfs --ulimit "
    "--use-api-socket --userns --uts --volume-driver --volumes-from"
)


def create(arguments: "Parsed", context: "Context") -> "tuple[Stores, Container]":
    """Makes the container that a command line describes."""
    from sampan.containers import lifecycle
    from sampan.oci import config as configs

    options = _options(arguments)
    if options.terminal and options.interactive and not os.isatty(0):
        raise Invalid("the input device is not a TTY", hint="leave out -t when input comes from a pipe or a file")
    reference, *_ = arguments.positionals
    engine = context.engine
    stores = engine.containers
    image = _image(reference, arguments.text("pull") or "missing", context)
    config = configs.parse(engine.blobs.read(image.id))
    return stores, lifecycle.create(options, image, reference, config, stores, arguments.text("name") or "")


def _image(text: str, policy: str, context: "Context") -> "Image":
    """The image to run, fetched if it is not here. Raises NotFound, and what ``pull`` raises."""
    if policy not in ("always", "missing", "never"):
        raise Invalid(f"invalid --pull {policy!r}", hint="always, missing or never")
    images = context.engine.images
    if policy != "always":
        try:
            return images.find(text)
        except NotFound:
            if policy == "never":
                raise
    from sampan.cli.progress import Transfers
    from sampan.cli.pull import fetch
    from sampan.oci import platform, reference

    sys.stderr.write(f"Unable to find image '{text}' locally\n")
    with Transfers(sys.stderr, quiet=False) as transfers:
        return fetch(reference.parse(text).tagged(), context.engine, platform.host(), transfers)


def _options(arguments: "Parsed") -> "Options":
    from sampan.containers.options import Options, parse_volume

    network = arguments.text("network") or "bridge"
    if network not in ("bridge", "host", "none"):
        raise Unsupported(f"--network {network} is not built yet", hint="bridge, host and none are")
    ports = tuple(arguments.texts("publish"))
    if ports:
        from sampan.networks import ports as port_language

        if network != "bridge":
            raise Conflict(f"ports cannot be published with --network {network}")
        for text in ports:
            port_language.parse(text)
    seconds = arguments.number("stop-timeout")
    return Options(
        command=tuple(arguments.positionals[1:]) or None,
        entrypoint=_entrypoint(arguments),
        env=tuple(_environment(arguments)),
        mounts=tuple(parse_volume(text) for text in arguments.texts("volume")),
        workdir=_workdir(arguments.text("workdir")),
        user=arguments.text("user") or "",
        hostname=arguments.text("hostname") or "",
        network=network,
        ports=ports,
        labels=tuple(_pair(text) for text in arguments.texts("label")),
        stop_signal=arguments.text("stop-signal") or "",
        stop_seconds=10 if seconds is None else seconds,
        interactive=arguments.on("interactive"),
        terminal=arguments.on("tty"),
        auto_remove=arguments.on("rm"),
    )


def _entrypoint(arguments: "Parsed") -> tuple[str, ...] | None:
    text = arguments.text("entrypoint")
    if text is None:
        return None
    return (text,) if text else ()


def _workdir(text: str | None) -> str:
    if text and not text.startswith("/"):
        raise Invalid(f"the working directory {text!r} is not an absolute path")
    return text or ""


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _environment(arguments: "Parsed") -> list[str]:
    """``--env-file`` first, then ``-e``; a name without "=" has the value that it has here, if any."""
    entries = [entry for path in arguments.texts("env-file") for entry in _read_env_file(path)]
    return resolve_environment(entries + arguments.texts("env"))


def resolve_environment(entries: list[str]) -> list[str]:
    """Entries as ``NAME=value``. Raises Invalid for one without a name."""
    resolved = []
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if not name:
            raise Invalid(f"invalid environment variable: {entry!r}")
        if equals:
            resolved.append(entry)
        elif name in os.environ:
            resolved.append(f"{name}={os.environ[name]}")
    return resolved


def _read_env_file(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise NotFound(f"cannot read the environment file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"the environment file {path} is not UTF-8") from None
    entries = []
    for number, line in enumerate(lines, 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name or any(letter.isspace() for letter in name.rstrip("\n")):
            raise Invalid(f"{path}:{number}: {name!r} is not a variable's name")
        entries.append(line)
    return entries
