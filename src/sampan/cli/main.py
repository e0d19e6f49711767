"""The command line's front door: finds the verb, reads its flags, runs it, and tells what went wrong, once.

Nothing is imported for a verb that is not asked for, and ``sampan --version`` imports next to nothing.
"""

import os
import sys

from sampan.cli import commands
from sampan.cli.context import Context
from sampan.cli.flags import HELP, Command, Flag, Parsed, UsageError, check_count, nearest, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Main = Callable[[Parsed, Context], int]

PERSISTENT = (
    Flag("-D, --debug", "Show where an error comes from"),
    Flag("--root string", "Keep everything below this directory"),
)
"""Known before the verb, and by their long names also after it."""
_RUNTIME = Flag("--runtime string", "OCI runtime for the containers that run and create make")
GLOBAL = Command(
    "[OPTIONS] COMMAND",
    (*PERSISTENT, HELP, _RUNTIME, Flag("-v, --version", "Print version information and quit")),
    most=None,
    interspersed=False,
)
_INHERITED = tuple(Flag(f"--{flag.long} {flag.metavar}".rstrip(), flag.help) for flag in PERSISTENT)


def run() -> None:
    """The console script."""
    import gc

    # Most commands end before there is any garbage worth the search: 6 ms of the 50 that a container's start takes.
    gc.set_threshold(20_000, 50, 50)
    _occupy_standard_streams()
    _interrupt_once()
    code = perform(sys.argv[1:], Context())
    # Tearing the interpreter down takes 4 ms, and closing the database three syncs of a disk, to copy its log into it
    # (SQLite, "Write-Ahead Logging"): what was committed is safe in the log, and the kernel frees the rest.
    os._exit(code)


def _occupy_standard_streams() -> None:
    """Puts /dev/null where a standard stream is closed, or the next file opened would be taken for that stream. What is
    written to standard output fails still."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            access = os.O_RDONLY if fd == 1 else os.O_RDWR
            os.set_inheritable(os.open(os.devnull, access), True)  # the lowest free number: this one
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r"))


def _interrupt_once() -> None:
    """Has the first signal that asks for the end raise KeyboardInterrupt, with its number.

    What was begun is undone then, and a second signal (an impatient Ctrl-C, a wrapper that passes on what the whole
    process group got) must not interrupt that; the third ends the process at once.
    """
    import _signal  # signal without its enumerations, which are slow to load

    heard = 0

    def on_signal(number: int, frame: object) -> None:
        nonlocal heard
        heard += 1
        if heard == 1:
            raise KeyboardInterrupt(number)
        if heard > 2:
            _signal.signal(number, _signal.SIG_DFL)
            _signal.raise_signal(number)

    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, on_signal)


def main(arguments: list[str]) -> int:
    """Runs one command line and gives its exit code. Nothing is raised but SystemExit, by a verb that wants it."""
    context = Context()
    code = perform(arguments, context)
    try:
        context.close()
    except Exception as error:
        code = code or _failed(error, context)
    return code


def perform(arguments: list[str], context: Context) -> int:
    """As ``main``, with a context that the caller closes."""
    try:
        code = _main(arguments, context)
        context.flush()
    except BaseException as error:
        code = _failed(error, context)
    return code


def _main(arguments: list[str], context: Context) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no error
    parsed = parse(GLOBAL, arguments)
    _take_persistent(parsed, context)
    context.runtime = parsed.text("runtime") or ""
    words = parsed.positionals
    if parsed.on("version"):
        from sampan import __version__

        context.print(f"sampan version {__version__}")
        return 0
    if words and words[0] == "help":
        return _help(words[1:], context)
    return _help(words, context) if parsed.on("help") or not words else _dispatch(words, context)


def _dispatch(words: list[str], context: Context) -> int:
    verb, arguments = resolve(words)
    if verb in commands.GROUPS:
        if [word for word in arguments if word not in ("--help", "-h")]:
            raise _unknown_command(f"{verb} {arguments[0]}")
        return _help([verb], context)
    context.verb = verb
    command, perform = load(verb)
    context.command = command
    if context.runtime and not any(flag.long == "runtime" for flag in command.flags):
        raise UsageError(f"--runtime is for containers that are made, and sampan {verb} makes none")
    parsed = parse(command, arguments, _INHERITED)
    _take_persistent(parsed, context)
    if parsed.on("help"):
        return _help([verb], context)
    check_count(command, parsed, f"sampan {verb}")
    context.quiet = any(flag.long == "quiet" for flag in command.flags) and parsed.on("quiet")
    if command.needs_userns:
        _enter(command, parsed, context)
    return perform(parsed, context)


def _enter(command: "Command", parsed: Parsed, context: Context) -> None:
    """Goes on as root of a user namespace. Where there can be none, only what runs nothing goes on without."""
    from sampan.linux import ids

    if ids.is_root():
        return
    from sampan.errors import Unavailable
    from sampan.linux.namespaces import enter_user_namespace
    from sampan.paths import check_owner, default_root, home

    # Who we are is to be asked now: for the list of users we are root then.
    context.root = context.root or default_root(1)
    check_owner(context.root)
    os.environ["HOME"] = home()
    try:
        enter_user_namespace(command.joins(parsed, context) if command.joins else 0)
    except Unavailable as error:
        if not command.runs_nothing:
            hint = f"{error.hint}; images can be pulled, pushed, saved, and built as far as no RUN is performed"
            raise Unavailable(f"{context.verb} needs namespaces, and {error.message}", hint=hint) from None


def resolve(words: list[str]) -> tuple[str, list[str]]:
    """The verb (or group) that a command line begins with, and its arguments. Raises UsageError."""
    first, both = words[0], " ".join(words[:2])
    if both in commands.ALIASES:
        verb, *given = commands.ALIASES[both]
        rest = given + words[2:]
        return resolve([verb, *rest]) if verb in commands.GROUPS else (verb, rest)
    if both in commands.COMMANDS:
        return both, words[len(both.split()) :]
    if first in commands.COMMANDS or first in commands.GROUPS:
        return first, words[1:]
    raise _unknown_command(first)


def load(verb: str) -> "tuple[Command, Main]":
    """The table and the function of a verb."""
    name = commands.COMMANDS[verb][0]
    __import__(name)
    module = sys.modules[name]
    if " " in verb:
        pair: tuple[Command, Main] = module.COMMANDS[verb.partition(" ")[2]]
        return pair
    return module.COMMAND, module.main


def _unknown_command(name: str) -> UsageError:
    if name in commands.LATER.split():
        return UsageError(f"sampan {name} is not built yet", exit_code=1)
    near = nearest(name, [*commands.COMMANDS, *commands.GROUPS, *commands.ALIASES])
    hint = f"did you mean sampan {near}?" if near else None
    return UsageError(f"unknown command: sampan {name}", hint=hint, exit_code=1)


def _help(words: list[str], context: Context) -> int:
    from sampan.cli import help

    width = help.terminal_width()
    if not words:
        text = help.top(GLOBAL.flags, width)
    else:
        verb, _ = resolve(words)
        text = help.group(verb, width) if verb in commands.GROUPS else help.verb(verb, load(verb)[0], width)
    context.print(text.rstrip("\n"))
    return 0


def _take_persistent(parsed: Parsed, context: Context) -> None:
    context.debug = context.debug or parsed.on("debug")
    context.root = parsed.text("root") or context.root


def _failed(error: BaseException, context: Context) -> int:
    if isinstance(error, SystemExit):
        raise error
    code = context.tell(error)
    try:
        sys.stdout.flush()
    except OSError:
        # The interpreter flushes once more at its end: let it flush to nowhere, or it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
