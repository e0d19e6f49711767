"""What ``run`` (and later ``create``) take to describe a container, and how that becomes one."""

import os
import sys

from sampan.cli import confinement, networking, supervision
from sampan.cli.flags import Flag
from sampan.errors import Conflict, Invalid, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.context import Context
    from sampan.cli.flags import Parsed
    from sampan.containers.lifecycle import Stores
    from sampan.containers.options import ImageMount, Mount, Options
    from sampan.containers.record import Container
    from sampan.store.images import Image

_FLAGS = (
    Flag("-a, --attach list", "Attach to STDIN, STDOUT or STDERR"),
    Flag("--annotation list", "Add an annotation to the container (passed through to the OCI runtime)"),
    Flag("--cidfile string", "Write the container ID to the file"),
    Flag("--disable-content-trust", "Skip image verification (signatures are not verified)", True),
    Flag("-e, --env list", "Set environment variables"),
    Flag("--entrypoint string", "Overwrite the default ENTRYPOINT of the image"),
    Flag("--env-file list", "Read in a file of environment variables"),
    Flag("-i, --interactive", "Keep STDIN open even if not attached"),
    Flag("--isolation string", "Container isolation technology: default, on Linux"),
    Flag("-l, --label list", "Set meta data on a container"),
    Flag("--label-file list", "Read in a line delimited file of labels"),
    Flag("--mount list", "Attach a filesystem mount to the container"),
    Flag("--name string", "Assign a name to the container"),
    Flag("--platform string", "Run the image for this platform (default: this machine's)"),
    Flag("--pull string", "Pull image before running: always, missing or never", "missing"),
    Flag("-q, --quiet", "Suppress the pull output"),
    Flag("--runtime string", "Runtime to use for this container: sampan (the default), crun, runc or a path"),
    Flag("--rm", "Automatically remove the container and its anonymous volumes when it exits"),
    Flag("--stop-signal string", "Signal to stop the container"),
    Flag("--stop-timeout int", "Timeout (in seconds) to stop a container"),
    Flag("-t, --tty", "Allocate a pseudo-TTY"),
    Flag("-u, --user string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    Flag("-v, --volume list", "Bind mount a volume"),
    Flag("--volume-driver string", "Optional volume driver for the container: local"),
    Flag("--volumes-from list", "Mount volumes from the specified container(s) (NAME[:ro|rw])"),
    Flag("-w, --workdir string", "Working directory inside the container"),
)
FLAGS = tuple(sorted((*_FLAGS, *networking.FLAGS, *confinement.FLAGS, *supervision.FLAGS), key=lambda flag: flag.long))
_WINDOWS = "it is for containers of Windows"
REFUSED = {
    "--cpu-count": _WINDOWS,
    "--cpu-percent": _WINDOWS,
    "--io-maxbandwidth": _WINDOWS,
    "--io-maxiops": _WINDOWS,
    "--ip6": "containers have no IPv6 addresses here",
    "--link": "links are deprecated: containers of one network find each other by name (sampan network create)",
    "--link-local-ip": "containers have no link-local addresses here",
    "--use-api-socket": "there is no daemon here that had a socket",
}


def create(arguments: "Parsed", context: "Context") -> "tuple[Stores, Container]":
    """Makes the container that a command line describes."""
    from sampan.containers import lifecycle
    from sampan.oci import config as configs

    _check_choices(arguments)
    options = _options(arguments, context)
    if options.terminal and options.interactive and not os.isatty(0):
        raise Invalid("the input device is not a TTY", hint="leave out -t when input comes from a pipe or a file")
    reference, *_ = arguments.positionals
    engine = context.engine
    stores = engine.containers
    image = _image(reference, arguments, context)
    config = configs.parse(engine.blobs.read(image.id))
    exposed = networking.exposed(arguments, options.network, config.config.exposed_ports, context)
    options = options._replace(ports=(*options.ports, *exposed))
    with _Cidfile(arguments.text("cidfile") or "") as cidfile:
        container = lifecycle.create(options, image, reference, config, stores, arguments.text("name") or "")
        cidfile.write(container.id)
    return stores, container


class _Cidfile:
    """``--cidfile``, made before the container and gone again if there comes to be none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> "_Cidfile":
        if self._path:
            try:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                hint = "remove it, or give --cidfile another name"
                raise Conflict(f"the file {self._path} is there already", hint=hint) from None
        return self

    def write(self, identifier: str) -> None:
        if self._path:
            os.write(self._fd, identifier.encode())

    def __exit__(self, kind: object, *rest: object) -> None:
        if self._path:
            os.close(self._fd)
            if kind:
                os.unlink(self._path)


def owner(arguments: "Parsed", context: "Context") -> int:
    """The first process of the container whose namespaces are to be shared, 0 without one: for an ordinary user only
    who is in its user namespace may join its others."""
    given = (*arguments.texts("network"), arguments.text("pid") or "", arguments.text("ipc") or "")
    for text in given:
        if text.startswith("container:"):
            return context.engine.records.find(text.removeprefix("container:")).state().pid
    return 0


def _check_choices(arguments: "Parsed") -> None:
    """Refuses what Docker can be asked for elsewhere: on Windows, with plugins."""
    for name, only in (("isolation", "default"), ("volume-driver", "local")):
        given = arguments.text(name)
        if (given or only).lower() != only:
            raise Unsupported(f"--{name} {given}: there is none here but {only}")
    if not arguments.on("disable-content-trust"):
        raise Unsupported("--disable-content-trust=false: signatures of Notary are not verified here")


def _image(text: str, arguments: "Parsed", context: "Context") -> "Image":
    """The image to run, fetched if it is not here. Raises NotFound, and what ``pull`` raises."""
    from sampan.oci import platform

    policy, given = arguments.text("pull") or "missing", arguments.text("platform")
    wanted = platform.parse(given) if given else platform.host()
    if policy not in ("always", "missing", "never"):
        raise Invalid(f"invalid --pull {policy!r}", hint="always, missing or never")
    images = context.engine.images
    if policy != "always":
        try:
            found = images.find(text)
            if found.platform.satisfies(wanted):
                return found
            if not given:
                context.warn(f"the image {text} is for {found.platform}, and this machine is {wanted}")
                return found
            if policy == "never":
                raise NotFound(f"the image {text} is here for {found.platform}, not for {wanted}")
        except NotFound:
            if policy == "never":
                raise
    from sampan.cli.progress import Transfers
    from sampan.cli.pull import fetch
    from sampan.oci import reference

    quiet = arguments.on("quiet")
    if not quiet and policy != "always":
        sys.stderr.write(f"Unable to find image '{text}' locally\n")
    with Transfers(sys.stderr, quiet=quiet) as transfers:
        found = fetch(reference.parse(text).tagged(), context.engine, wanted, transfers)
    if given and not found.platform.satisfies(wanted):
        raise NotFound(f"the image {text} is for {found.platform}, and there is none for {wanted}")
    return found


def _options(arguments: "Parsed", context: "Context") -> "Options":
    from sampan.containers.options import Namespaces, Options, parse_volume

    seconds, attach = arguments.number("stop-timeout"), _attached(arguments)
    confined, connected = confinement.read(arguments, context), networking.read(arguments, context)
    if connected["network"].startswith("container:"):
        own = confined.get("namespaces", Namespaces())
        confined["namespaces"] = own._replace(network=connected["network"])
    given, images = _mounts(arguments, confined, context)
    mounts = [*(parse_volume(text) for text in arguments.texts("volume")), *given]
    return Options(
        command=tuple(arguments.positionals[1:]) or None,
        entrypoint=_entrypoint(arguments),
        env=tuple(environment(arguments)),
        mounts=_with_inherited(mounts, arguments, context),
        images=images,
        workdir=_workdir(arguments.text("workdir")),
        user=arguments.text("user") or "",
        labels=tuple(_pair(text) for text in (*_lines(arguments, "label-file"), *arguments.texts("label"))),
        stop_signal=_signal(arguments.text("stop-signal") or ""),
        stop_seconds=10 if seconds is None else seconds,
        interactive=arguments.on("interactive") or "stdin" in attach,
        attach=attach,
        terminal=arguments.on("tty"),
        auto_remove=arguments.on("rm"),
        annotations=tuple(_pair(text) for text in arguments.texts("annotation")),
        **connected,
        **supervision.read(arguments),
        runtime=_runtime(arguments, context),
        **confined,
    )


def _runtime(arguments: "Parsed", context: "Context") -> str:
    """Another OCI runtime that was asked for, by its name or absolute path; "" for our own. Raises NotFound."""
    from sampan import settings

    name = arguments.text("runtime") or context.runtime or settings.read().runtime
    if name in ("", "sampan"):
        return ""
    from sampan.runtime import foreign

    path = foreign.find(name)
    if arguments.on("init"):
        raise Unsupported(f"--init is a part of sampan's own runtime, and --runtime {name} is another")
    return path if "/" in name else name


def _with_inherited(mounts: "list[Mount]", arguments: "Parsed", context: "Context") -> "tuple[Mount, ...]":
    """With those of other containers (``--volumes-from``), where nothing else was asked for."""
    inherited = {}
    for text in arguments.texts("volumes-from"):
        name, _, mode = text.partition(":")
        if mode not in ("", "ro", "rw"):
            raise Invalid(f"invalid --volumes-from {text!r}: {mode!r} is not a mode", hint="NAME, NAME:ro or NAME:rw")
        for mount in context.engine.containers.containers.find(name).options.mounts:
            inherited[mount.target] = mount._replace(read_only=mount.read_only or mode == "ro")
    own = {os.path.normpath(mount.target) for mount in mounts}
    return (*mounts, *(mount for target, mount in inherited.items() if target not in own))


def _mounts(
    arguments: "Parsed", confined: "dict[str, Any]", context: "Context"
) -> "tuple[list[Mount], tuple[ImageMount, ...]]":
    """``--mount``, and those of images; those in memory join the ones of ``--tmpfs``."""
    texts = arguments.texts("mount")
    if not texts:
        return [], ()
    from sampan.containers.mounts import Memory, parse
    from sampan.containers.options import ImageMount, Mount

    parsed = [parse(text) for text in texts]
    memory = tuple((mount.target, mount.options) for mount in parsed if isinstance(mount, Memory))
    confined["tmpfs"] = confined.get("tmpfs", ()) + memory
    chains = {each.image: context.engine.images.find(each.image).chain for each in parsed if type(each) is ImageMount}
    images = (each._replace(chain=chains[each.image] or "") for each in parsed if isinstance(each, ImageMount))
    return [each for each in parsed if isinstance(each, Mount)], tuple(images)


def _attached(arguments: "Parsed") -> tuple[str, ...]:
    streams = tuple(text.lower() for text in arguments.texts("attach"))
    for stream in streams:
        if stream not in ("stdin", "stdout", "stderr"):
            raise Invalid(f"invalid --attach {stream!r}", hint="stdin, stdout or stderr")
    return streams


def _signal(text: str) -> str:
    if text:
        from sampan.containers.ending import parse_signal

        parse_signal(text)
    return text


def _lines(arguments: "Parsed", name: str) -> list[str]:
    return [entry for path in arguments.texts(name) for entry in _read_lines(path, "label")]


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


def environment(arguments: "Parsed") -> list[str]:
    """``--env-file`` first, then ``-e``; a name without "=" has the value that it has here, if any."""
    entries = [entry for path in arguments.texts("env-file") for entry in _read_lines(path)]
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


def _read_lines(path: str, what: str = "environment") -> list[str]:
    """The lines of ``--env-file`` or ``--label-file``: NAME=VALUE, or a name alone."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise NotFound(f"cannot read the {what} file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"the {what} file {path} is not UTF-8") from None
    entries = []
    for number, line in enumerate(lines, 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name or any(letter.isspace() for letter in name.rstrip("\n")):
            noun = "label" if what == "label" else "variable"
            raise Invalid(f"{path}:{number}: {name!r} is not a {noun}'s name")
        entries.append(line)
    return entries
