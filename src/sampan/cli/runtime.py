"""``sampan runtime``, also called ``sampan-runtime``: containers from OCI bundles, by the command line of runc.

Engines such as Podman, containerd and Docker call it in runc's place; it knows nothing of images and of sampan's store.
"""

import os
import sys

from sampan.cli import runtimelog
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed, UsageError, check_count, nearest, parse
from sampan.cli.runtimelog import warn
from sampan.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.runtime.command import Begun, Start

    Verb = tuple[Command, Callable[[Parsed, str], int]]

_GLOBAL = (
    Flag("--log string", "Write what goes wrong to this file too"),
    Flag("--log-format string", '"text" or "json"', "text"),
    Flag("--root string", "Where to remember containers (default /run/sampan-runtime, or in $XDG_RUNTIME_DIR)"),
    Flag("--rootless string", "For the command line of runc's; this runtime finds out by itself"),
    Flag("--systemd-cgroup", "Have systemd make cgroups: cgroupsPath is SLICE:PREFIX:NAME then"),
    Flag("-v, --version", "Print version information and quit"),
)
_STARTED = (
    Flag("--console-socket string", "Send the terminal's master side to this unix socket"),
    Flag("--no-new-keyring", "Keep the caller's session keyring"),
    Flag("--pid-file string", "Write the process id, as the host sees it, to this file"),
    Flag("--preserve-fds int", "Pass on so many descriptors after the standard ones", 0),
)
_BUNDLE = Flag("-b, --bundle string", "The directory with config.json", ".")


def _create(arguments: Parsed, root: str) -> int:
    from sampan.runtime import command

    how = _start(arguments, waited=False)
    begun = command.create(root, arguments.positionals[0], arguments.text("bundle") or ".", how)
    warn(begun.warnings)
    begun.process.leave()
    return 0


def _run(arguments: Parsed, root: str) -> int:
    from sampan.runtime import command

    detached, (name,) = arguments.on("detach"), arguments.positionals
    how = _start(arguments, waited=not detached)
    begun = command.create(root, name, arguments.text("bundle") or ".", how)
    try:
        return _attend(begun, lambda: command.begin(root, name, begun.process), detached=detached)
    except BaseException:
        command.delete(root, name, force=True)
        raise
    finally:
        if not detached and not arguments.on("keep"):
            warn(command.delete(root, name, force=True))


def _exec(arguments: Parsed, root: str) -> int:
    from sampan.cli.bundles import process_of
    from sampan.runtime import command

    name, *words = arguments.positionals
    detached = arguments.on("detach")
    process = process_of(arguments, root, name, words)
    how = _start(arguments, waited=not detached)
    begun = command.execute(root, name, process, how, cgroup=arguments.text("cgroup") or "")

    def start() -> list[str]:
        begun.process.start()
        return []

    return _attend(begun, start, detached=detached)


def _attend(begun: "Begun", start: "Callable[[], list[str]]", *, detached: bool) -> int:
    """Lets a program run and, unless it is left to itself, passes on what is typed and signals until it has ended."""
    warn(begun.warnings)
    if detached:
        warn(start())
        return 0
    from sampan.containers import session
    from sampan.linux import syscalls, terminal
    from sampan.runtime.command import wait

    master = begun.console
    pidfd = syscalls.pidfd_open(begun.process.pid)

    def on_signal(number: int) -> None:
        size = terminal.size(0) or terminal.size(1)
        if number != 28:  # SIGWINCH
            os.kill(begun.process.pid, number)
        elif size and master >= 0:
            terminal.set_size(master, *size)

    on_signal(28)
    with terminal.raw(0 if master >= 0 else -1), session.Signals(on_signal) as signals:
        warn(start())
        outputs = {master: 1} if master >= 0 else {}
        session.pump(outputs, master, pidfd, signals)
    return wait(begun.process)


def _start(arguments: Parsed, *, waited: bool) -> "Start":
    from sampan.runtime.command import Start

    preserved = arguments.number("preserve-fds") or 0
    for fd in range(3, 3 + preserved):
        try:
            os.set_inheritable(fd, True)
        except OSError:
            raise Invalid(f"--preserve-fds {preserved}: descriptor {fd} is not open") from None
    return Start(
        waited,
        arguments.text("pid-file") or "",
        arguments.text("console-socket") or "",
        preserved,
        not arguments.on("no-new-keyring"),
        _systemd,
    )


def _start_created(arguments: Parsed, root: str) -> int:
    from sampan.runtime import command

    warn(command.start(root, arguments.positionals[0]))
    return 0


def _kill(arguments: Parsed, root: str) -> int:
    from sampan.runtime import command

    name, *rest = arguments.positionals
    command.kill(root, name, _signal(rest[0] if rest else "TERM"), everyone=arguments.on("all"))
    return 0


def _signal(text: str) -> int:
    import signal

    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise Invalid(f"{text!r} is no signal") from None


def _delete(arguments: Parsed, root: str) -> int:
    from sampan.runtime import command

    warn(command.delete(root, arguments.positionals[0], force=arguments.on("force")))
    return 0


def _state(arguments: Parsed, root: str) -> int:
    from sampan import plainjson
    from sampan.runtime import state

    place = state.find(root, arguments.positionals[0])
    sys.stdout.write(plainjson.dumps(state.shown(place, state.read(place))) + "\n")
    return 0


def _pause(arguments: Parsed, root: str) -> int:
    from sampan.runtime import command

    command.freeze(root, arguments.positionals[0], frozen=True)
    return 0


def _resume(arguments: Parsed, root: str) -> int:
    from sampan.runtime import command

    command.freeze(root, arguments.positionals[0], frozen=False)
    return 0


def _seldom(name: str) -> "Callable[[Parsed, str], int]":
    """A verb whose module is loaded when it is asked for."""

    def perform(arguments: Parsed, root: str) -> int:
        from sampan.cli import bundles

        return bundles.VERBS[name](arguments, root)

    return perform


def _one(what: str, *flags: Flag) -> Command:
    return Command(f"[OPTIONS] {what}".removeprefix("" if flags else "[OPTIONS] "), flags, least=1, most=1)


_FORMAT = Flag("-f, --format string", '"table" or "json"', "table")
_VERBS: "dict[str, Verb]" = {
    "create": (_one("CONTAINER", _BUNDLE, *_STARTED, Flag("--no-pivot", "Not supported")), _create),
    "delete": (_one("CONTAINER", Flag("-f, --force", "Kill a container that runs")), _delete),
    "events": (
        _one(
            "CONTAINER",
            Flag("--interval string", "Time between two messages", "5s"),
            Flag("--stats", "Only one message"),
        ),
        _seldom("events"),
    ),
    "exec": (
        Command(
            "[OPTIONS] CONTAINER [COMMAND [ARG...]]",
            (
                *_STARTED,
                Flag("--apparmor string", "AppArmor profile"),
                Flag("-c, --cap list", "Add a capability"),
                Flag("--cgroup string", "A cgroup below the container's"),
                Flag("--cwd string", "Working directory"),
                Flag("-d, --detach", "Do not wait for the process"),
                Flag("-e, --env list", "Set environment variables"),
                Flag("-g, --additional-gids list", "Additional group ids"),
                Flag("--ignore-paused", "Enter a paused container too: the process waits with it"),
                Flag("--no-new-privs", "Set no_new_privs"),
                Flag("-p, --process string", "A file with the process as config.json describes one"),
                Flag("--process-label string", "SELinux label"),
                Flag("-t, --tty", "Allocate a pseudo-TTY"),
                Flag("-u, --user string", "User id, and group id after a colon"),
            ),
            least=1,
            most=None,
            interspersed=False,
        ),
        _exec,
    ),
    "features": (Command(""), _seldom("features")),
    "kill": (
        Command(
            "[OPTIONS] CONTAINER [SIGNAL]",
            (Flag("-a, --all", "Send the signal to all processes of the container"),),
            least=1,
            most=2,
        ),
        _kill,
    ),
    "list": (
        Command("[OPTIONS]", (_FORMAT, Flag("-q, --quiet", "Show ids only"))),
        _seldom("list"),
    ),
    "pause": (_one("CONTAINER"), _pause),
    "ps": (
        Command("[OPTIONS] CONTAINER [ps OPTIONS]", (_FORMAT,), least=1, most=None, interspersed=False),
        _seldom("ps"),
    ),
    "resume": (_one("CONTAINER"), _resume),
    "run": (
        _one(
            "CONTAINER",
            _BUNDLE,
            *_STARTED,
            Flag("-d, --detach", "Do not wait for the container"),
            Flag("--keep", "Do not delete the container when it has ended"),
            Flag("--no-pivot", "Not supported"),
            Flag("--no-subreaper", "For the command line of runc's"),
        ),
        _run,
    ),
    "spec": (
        Command("[OPTIONS]", (_BUNDLE, Flag("--rootless", "For a user without privileges"))),
        _seldom("spec"),
    ),
    "start": (_one("CONTAINER"), _start_created),
    "state": (_one("CONTAINER"), _state),
    "update": (
        Command(
            "[OPTIONS] CONTAINER",
            (
                Flag("--blkio-weight int", "Weight for disks, from 10 to 1000"),
                Flag("--cpu-period int", "Length of a period of the CPU quota in microseconds"),
                Flag("--cpu-quota int", "CPU time in a period in microseconds"),
                Flag("--cpu-rt-period int", "Length of a period of real-time scheduling in microseconds"),
                Flag("--cpu-rt-runtime int", "Real-time scheduling in a period in microseconds"),
                Flag("--cpu-share int", "Share of CPU time where it is scarce"),
                Flag("--cpuset-cpus string", "Processors to use"),
                Flag("--cpuset-mems string", "Memory nodes to use"),
                Flag("--memory string", "Memory limit in bytes"),
                Flag("--memory-reservation string", "Memory limit where memory is scarce"),
                Flag("--memory-swap string", "Limit of memory and swap together, -1 for none"),
                Flag("--pids-limit int", "How many processes there may be"),
                Flag("-r, --resources string", "A file with linux.resources, - for standard input"),
            ),
            least=1,
            most=1,
        ),
        _seldom("update"),
    ),
}
_BECOMING = ("create", "run", "exec")
"""Verbs that make processes in containers: not by a program file that a container could overwrite."""
COMMAND = Command(
    "[OPTIONS] COMMAND [ARG...]",
    _GLOBAL,
    most=None,
    interspersed=False,
    details=(
        "The commands, as in runc: "
        + " ".join(_VERBS)
        + ".\n\n`sampan-runtime` is the same under a name of its own, for "
        "engines: `podman --runtime /path/to/sampan-runtime`, `dockerd --add-runtime sampan=/path/to/sampan-runtime`."
    ),
    examples=(
        ("sampan runtime run -b bundle job", "Run the bundle in the directory bundle"),
        ("sampan runtime spec", "Write a config.json to begin with"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    if arguments.on("version"):
        from sampan import __version__

        context.print(f"sampan-runtime version {__version__}\nspec: 1.2.0")
        return 0
    runtimelog.settle(arguments.text("log") or "", arguments.text("log-format") or "")
    try:
        return _perform(arguments, context)
    except Exception as error:
        runtimelog.fail(error)
        raise


def run() -> None:
    """The console script ``sampan-runtime``: ``sampan runtime`` by another name."""
    from sampan.cli.main import run

    sys.argv.insert(1, "runtime")
    run()


def fresh() -> None:
    """The same in a fresh interpreter (see ``_BECOMING``)."""
    from sampan.cli.main import run

    global _fresh
    _fresh = True
    run()


_fresh = False
_systemd = False
"""Whether systemd is to make cgroups: a flag before the verb."""


def _perform(arguments: Parsed, context: Context) -> int:
    words = arguments.positionals
    if arguments.text("log-format") not in ("text", "json"):
        raise UsageError(f"--log-format {arguments.text('log-format')!r}: it is text or json")
    global _systemd
    _systemd = arguments.on("systemd-cgroup")
    if not words:
        raise UsageError("a command is missing: " + " ".join(_VERBS))
    if words[0] not in _VERBS:
        near = nearest(words[0], list(_VERBS))
        raise UsageError(f"unknown command {words[0]!r}", hint=f"did you mean {near}?" if near else None)
    command, perform = _VERBS[words[0]]
    parsed = parse(command, words[1:])
    if parsed.on("help"):
        from sampan.cli import help
        from sampan.cli.bundles import SUMMARIES

        text = help.verb(f"runtime {words[0]}", command, help.terminal_width(), SUMMARIES[words[0]])
        context.print(text.rstrip("\n"))
        return 0
    check_count(command, parsed, f"sampan runtime {words[0]}")
    if words[0] in _BECOMING and not _fresh:
        from sampan.runtime import launch

        given = [f"--{name}={value}" for name, value in arguments.given()]
        launch.become("sampan.cli.runtime", "fresh", ["runtime", *given, *words])
    if any(flag.long == "no-pivot" for flag in command.flags) and parsed.on("no-pivot"):
        raise Unsupported("--no-pivot is not supported: a chroot can be left")
    from sampan.runtime import state

    root = os.path.abspath(arguments.text("root") or state.default_root())
    if parsed.positionals:
        state.act_as_owner(root, parsed.positionals[0])
    return perform(parsed, root)
