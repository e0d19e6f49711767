"""Command lines read as Docker's are (github.com/spf13/pflag), from a table that help and reference are made of too.

Nothing but ``errors`` is imported: ``typing``, ``re`` and ``argparse`` would cost more than a whole ``sampan ps``.
"""

from sampan.errors import Invalid, SampanError, Unsupported

TYPE_CHECKING = False  # what typing's own constant is at run time; its import takes 7 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sampan.cli.context import Context

    Value = bool | int | str | list[str] | None

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class UsageError(Invalid):
    """A command line that makes no sense; it is shown with the verb's usage line."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 125) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class Flag:
    """One flag. ``form`` is what help shows: ``-e, --env list``, ``--name string``, ``-q, --quiet``.

    The word after the name is the kind: none is a boolean, ``int`` a whole number, ``list`` may be given several times,
    and any other word a text. ``repeat`` makes a list of a flag whose word says more than "list". ``alias`` is a second
    long name that help does not show, as Docker's older ones.
    """

    __slots__ = ("alias", "default", "help", "kind", "long", "metavar", "short")

    def __init__(
        self,
        form: str,
        help: str,
        default: "bool | int | str | None" = None,
        *,
        repeat: bool = False,
        alias: str = "",
    ) -> None:
        short, comma, rest = form.partition(", ")
        name, _, self.metavar = (rest if comma else form).partition(" ")
        self.short = short[1:] if comma else ""
        self.long = name[2:]
        self.help = help
        self.default = default
        self.alias = alias
        if not self.metavar:
            self.kind = "bool"
        elif repeat or self.metavar == "list":
            self.kind = "list"
        else:
            self.kind = "int" if self.metavar == "int" else "string"


class Command:
    """What a verb takes.

    ``usage`` is the usage line after the verb's name, ``flags`` its own flags. ``least`` and ``most`` bound the number
    of arguments (``most`` None: no bound); if that number is wrong, ``advise`` may find the likely way out.
    With ``interspersed=False`` the first argument ends the flags, so that ``run IMAGE ls -l`` works. ``later`` names
    flags of Docker's that are not built yet, ``refused`` those that there will not be, with the reason: both are
    refused by name. ``needs_userns`` says that the verb touches
    layers or namespaces, so that an ordinary user has to be root of his own user namespace: that of the process which
    ``joins`` finds, or (0) a new one; and ``runs_nothing`` that
    it can go on where there is none; ``error_exit`` is the exit code for errors that have none of their own.
    """

    __slots__ = (
        "advise",
        "details",
        "error_exit",
        "examples",
        "flags",
        "interspersed",
        "joins",
        "later",
        "least",
        "most",
        "needs_userns",
        "refused",
        "runs_nothing",
        "usage",
    )

    def __init__(
        self,
        usage: str,
        flags: "Sequence[Flag]" = (),
        *,
        least: int = 0,
        most: int | None = 0,
        interspersed: bool = True,
        needs_userns: bool = False,
        joins: "Callable[[Parsed, Context], int] | None" = None,
        runs_nothing: bool = False,
        error_exit: int = 1,
        later: str = "",
        refused: "Mapping[str, str] | None" = None,
        details: str = "",
        examples: "Sequence[tuple[str, str]]" = (),
        advise: "Callable[[Parsed], str | None] | None" = None,
    ) -> None:
        self.usage = usage
        self.flags = tuple(flags)
        self.least = least
        self.most = most
        self.interspersed = interspersed
        self.needs_userns = needs_userns
        self.joins = joins
        self.runs_nothing = runs_nothing
        self.error_exit = error_exit
        self.later = later
        self.refused = refused or {}
        self.details = details
        self.examples = tuple(examples)
        self.advise = advise


class Parsed:
    """What was given. A flag is asked for by its long name, with the method for its kind."""

    __slots__ = ("_flags", "_given", "positionals")

    def __init__(self, flags: "Sequence[Flag]") -> None:
        self._flags = {flag.long: flag for flag in flags}
        self._given: dict[str, Value] = {}
        self.positionals: list[str] = []

    def __contains__(self, name: str) -> bool:
        """Whether the flag was given at all, be it with its default."""
        return self._flags[name].long in self._given

    def given(self) -> "list[tuple[str, Value]]":
        """All flags that were given, by their long names, with their values."""
        return sorted(self._given.items(), key=lambda pair: pair[0])

    def on(self, name: str) -> bool:
        """A boolean flag; False by default."""
        return bool(self._value(name, "bool"))

    def text(self, name: str) -> str | None:
        """A text flag: as given, else its default."""
        value = self._value(name, "string")
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        """A number flag: as given, else its default."""
        value = self._value(name, "int")
        return value if isinstance(value, int) else None

    def texts(self, name: str) -> list[str]:
        """All values of a flag that may be given several times, in their order."""
        value = self._value(name, "list")
        return value if isinstance(value, list) else []

    def set(self, flag: Flag, text: str, shown: str) -> None:
        """Takes the value ``text``, given as ``shown`` (``--name`` or ``-n``). Raises UsageError if it does not fit."""
        if flag.kind == "list":
            self._given.setdefault(flag.long, [])
            self.texts(flag.long).append(text)
        elif flag.kind == "bool":
            self._given[flag.long] = _boolean(text, shown)
        else:
            self._given[flag.long] = _integer(text, shown) if flag.kind == "int" else text

    def _value(self, name: str, kind: str) -> "Value":
        flag = self._flags[name]
        if flag.kind != kind:
            raise TypeError(f"--{name} is a flag of kind {flag.kind}, not {kind}")
        return self._given.get(name, flag.default)


HELP = Flag("--help", "Print usage")


def parse(command: Command, arguments: "Sequence[str]", inherited: "Sequence[Flag]" = ()) -> Parsed:
    """Reads ``arguments`` by the command's table and the ``inherited`` flags that it has no own ones for.

    ``--help`` is always known, and ``-h`` where it means nothing else; with it the number of arguments is not checked.
    Raises UsageError, and Unsupported for flags that are named in ``later``.
    """
    own = {flag.long for flag in command.flags}
    flags = (*command.flags, *(flag for flag in (HELP, *inherited) if flag.long not in own))
    parsed = Parsed(flags)
    rest = list(reversed(arguments))
    longs = {name: flag for flag in flags for name in (flag.long, flag.alias) if name}
    shorts = {flag.short: flag for flag in flags if flag.short}
    while rest:
        argument = rest.pop()
        if argument == "--":
            break
        if argument.startswith("--"):
            _long(argument, longs, rest, parsed, command)
        elif argument.startswith("-") and argument != "-":
            _shorts(argument, shorts, rest, parsed, command)
        else:
            parsed.positionals.append(argument)
            if not command.interspersed:
                break
    parsed.positionals += reversed(rest)
    return parsed


def check_count(command: Command, parsed: Parsed, name: str) -> None:
    """Raises UsageError, exit code 1 as with Docker, unless there are as many arguments as the command takes."""
    count, least, most = len(parsed.positionals), command.least, command.most
    if count >= least and (most is None or count <= most):
        return
    number = most if most is not None and count > most else least
    amount = f"{number} argument" + ("s" if number != 1 else "")
    if most == 0:
        wants = "accepts no arguments"
    elif least == most:
        wants = f"requires {amount}"
    else:
        wants = f"requires at {'least' if count < least else 'most'} {amount}"
    hint = command.advise(parsed) if command.advise else None
    raise UsageError(f"'{name}' {wants}", hint=hint, exit_code=1)


def nearest(word: str, known: "Sequence[str]") -> str | None:
    """The known word that ``word`` was probably meant to be."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, 1, 0.6)), None)


def _long(argument: str, longs: dict[str, Flag], rest: list[str], parsed: Parsed, command: Command) -> None:
    name, equals, value = argument[2:].partition("=")
    flag = longs.get(name)
    if not name or name.startswith("-"):
        raise UsageError(f"bad flag syntax: {argument}")
    if flag is None:
        raise _unknown(f"--{name}", command, f"unknown flag: --{name}", nearest(name, list(longs)))
    if not equals:
        value = _following(flag, rest, f"flag needs an argument: --{name}")
    parsed.set(flag, value, f"--{name}")


def _shorts(argument: str, shorts: dict[str, Flag], rest: list[str], parsed: Parsed, command: Command) -> None:
    """A cluster: each letter a flag, until one takes a value; that is the remainder, after ``=`` or at once."""
    letters = argument[1:]
    while letters:
        letter, remainder = letters[0], letters[1:]
        flag = shorts.get(letter) or (HELP if letter == "h" else None)
        if flag is None:
            raise _unknown(f"-{letter}", command, f"unknown shorthand flag: '{letter}' in -{letters}", None)
        if len(remainder) > 1 and remainder[0] == "=":
            value, letters = remainder[1:], ""
        elif flag.kind == "bool":
            value, letters = "true", remainder
        elif remainder:
            value, letters = remainder, ""
        else:
            value, letters = _following(flag, rest, f"flag needs an argument: '{letter}' in -{letters}"), ""
        parsed.set(flag, value, f"-{letter}")


def _following(flag: Flag, rest: list[str], message: str) -> str:
    if flag.kind == "bool":
        return "true"
    if not rest:
        raise UsageError(message)
    return rest.pop()


def _unknown(shown: str, command: Command, message: str, near: str | None) -> SampanError:
    if shown in command.later.split():
        return Unsupported(f"{shown} is not built yet")
    if shown in command.refused:
        return Unsupported(f"{shown}: {command.refused[shown]}")
    return UsageError(message, hint=f"did you mean --{near}?" if near else None)


def _boolean(text: str, shown: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise UsageError(f"invalid argument {text!r} for {shown}: write true or false")


def _integer(text: str, shown: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        return int(text)
    raise UsageError(f"invalid argument {text!r} for {shown}: it takes a whole number")
