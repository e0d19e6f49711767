"""Typed instructions, each with its line. A ``parse_X`` for every instruction X: grep one to add one.

What is understood here may still be refused by ``translate``: a flag that nothing performs is never dropped.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sampan.build.dockerfile import lines, words
from sampan.build.dockerfile.lines import Heredoc, Line
from sampan.errors import Invalid, SampanError


class Command(NamedTuple):
    """A command in exec form, or with ``shell`` the one text that a shell is to run (none at all if it was empty)."""

    words: tuple[str, ...]
    shell: bool


class From(NamedTuple):
    """``FROM [--platform=P] image [AS name]``; the name is in lower case, empty for none."""

    line: Line
    image: str
    name: str = ""
    platform: str = ""


class Arg(NamedTuple):
    """``ARG name[=default] …``"""

    line: Line
    definitions: tuple[tuple[str, str | None], ...]


class Env(NamedTuple):
    """``ENV name=value …`` or ``ENV name value``"""

    line: Line
    pairs: tuple[tuple[str, str], ...]


class Label(NamedTuple):
    """``LABEL name=value …``"""

    line: Line
    pairs: tuple[tuple[str, str], ...]


class Run(NamedTuple):
    """``RUN [--mount=M …] [--network=N] [--security=S] [--device=D …] command``"""

    line: Line
    command: Command
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[str, ...] = ()


class Transfer(NamedTuple):
    """COPY and ADD: ``[flags] source … dest``. ``link``, ``unpack`` … are None where the flag was not given."""

    line: Line
    keyword: str
    sources: tuple[str, ...]
    inline: tuple[Heredoc, ...]
    dest: str
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool | None = None
    parents: bool | None = None
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Workdir(NamedTuple):
    """``WORKDIR path``"""

    line: Line
    path: str


class User(NamedTuple):
    """``USER user[:group]``"""

    line: Line
    user: str


class Volume(NamedTuple):
    """``VOLUME path …`` or a JSON array"""

    line: Line
    paths: tuple[str, ...]


class Expose(NamedTuple):
    """``EXPOSE port[-port][/protocol] …``, sorted"""

    line: Line
    ports: tuple[str, ...]


class Cmd(NamedTuple):
    """``CMD command``"""

    line: Line
    command: Command


class Entrypoint(NamedTuple):
    """``ENTRYPOINT command``"""

    line: Line
    command: Command


class Shell(NamedTuple):
    """``SHELL ["executable", "parameter", …]``"""

    line: Line
    words: tuple[str, ...]


class StopSignal(NamedTuple):
    """``STOPSIGNAL signal``"""

    line: Line
    signal: str


class Healthcheck(NamedTuple):
    """``HEALTHCHECK [flags] CMD command`` or ``HEALTHCHECK NONE``; times in nanoseconds, 0 where not given."""

    line: Line
    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Maintainer(NamedTuple):
    """``MAINTAINER name``"""

    line: Line
    name: str


class OnBuild(NamedTuple):
    """``ONBUILD instruction``: ``trigger`` is its text, here-documents included."""

    line: Line
    trigger: str


Instruction = (
    Arg | Env | Label | Run | Transfer | Workdir | User | Volume | Expose | Cmd | Entrypoint | Shell | StopSignal
    | Healthcheck | Maintainer | OnBuild
)  # fmt: skip


class Statement(NamedTuple):
    """A line taken apart: its flags, by name without dashes (a switch is "true" or "false"), and the rest."""

    line: Line
    keyword: str
    flags: Mapping[str, tuple[str, ...]]
    rest: str
    escape: str

    def text(self, flag: str) -> str:
        return self.flags[flag][0] if flag in self.flags else ""

    def switch(self, flag: str) -> bool | None:
        return self.flags[flag][0] == "true" if flag in self.flags else None

    def one_argument(self) -> str:
        if not self.rest:
            raise self.fault(f"{self.keyword} requires exactly one argument")
        return self.rest

    def arguments(self) -> list[str]:
        """The rest as a JSON array, else split at white space; quotes do not matter."""
        found = _json_words(self)
        return words.fields(self.rest) if found is None else found

    def fault(self, message: str, at: str = "", hint: str | None = None) -> SampanError:
        return self.line.fault(message, at, hint=hint)


def parse(line: Line, escape: str = "\\") -> From | Instruction:
    """The instruction on ``line``. Raises Invalid, showing the line, with the likely fix."""
    word, flags, rest = words.split_statement(line.text, escape)
    keyword = word.upper()
    if keyword not in _PARSERS:
        raise line.fault(f"unknown instruction: {word}", word, hint=did_you_mean(keyword, list(_PARSERS)))
    parser, known = _PARSERS[keyword]
    return parser(Statement(line, keyword, _flags(line, flags, known), rest, escape))


def did_you_mean(word: str, known: Sequence[str], template: str = "{}") -> str | None:
    """A hint that names the entry of ``known`` that is most like ``word``."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1, 0.6)
    return f"did you mean {template.format(close[0])}?" if close else None


def looks_like_exec_form(command: Command) -> bool:
    """Whether a shell command was probably meant as a JSON array; ``[ -f x ]`` and ``[ "$a" = b ]`` were not."""
    text = command.words[0].strip() if command.shell and command.words else ""
    return bool(re.fullmatch(r"""\[(?:['"“].*|\s*['"“][^'"”]*['"”]\s*,.*)\]""", text, re.DOTALL))


def parse_from(statement: Statement) -> From:
    found = words.fields(statement.rest)
    name = ""
    if len(found) == 3 and found[1].upper() == "AS":
        name = found[2].lower()
        if not re.fullmatch(r"[a-z][a-z0-9-_.]*", name):
            raise statement.fault(
                f"invalid name for a build stage: {found[2]}",
                found[2],
                "it begins with a letter and has only letters, digits, - _ and .",
            )
    elif len(found) != 1:
        hint = f"FROM {found[0]} AS {found[1]}" if len(found) == 2 else "FROM IMAGE [AS NAME]"
        raise statement.fault("FROM requires either one or three arguments", hint=hint)
    return From(statement.line, found[0], name, statement.text("platform"))


def parse_arg(statement: Statement) -> Arg:
    found: list[tuple[str, str | None]] = []
    for word in words.split(statement.rest, statement.escape):
        name, equals, default = word.partition("=")
        if not name:
            raise statement.fault("ARG names can not be blank", word)
        found.append((name, default if equals else None))
    return Arg(statement.line, tuple(_at_least_one(statement, found)))


def parse_env(statement: Statement) -> Env:
    return Env(statement.line, _pairs(statement))


def parse_label(statement: Statement) -> Label:
    return Label(statement.line, _pairs(statement))


def parse_run(statement: Statement) -> Run:
    command = _command(statement)
    _at_least_one(statement, list(command.words))
    for document in statement.line.heredocs:
        if not document.content.isprintable() and re.search("[\0\ud800-\udfff]", document.content):
            raise statement.fault("the here-document is not UTF-8 text", "<<")
    return Run(
        statement.line,
        command,
        statement.flags.get("mount", ()),
        statement.text("network"),
        statement.text("security"),
        statement.flags.get("device", ()),
    )


def parse_copy(statement: Statement) -> Transfer:
    return _transfer(statement)._replace(from_=statement.text("from"), parents=statement.switch("parents"))


def parse_add(statement: Statement) -> Transfer:
    return _transfer(statement)._replace(
        checksum=statement.text("checksum"),
        keep_git_dir=statement.switch("keep-git-dir"),
        unpack=statement.switch("unpack"),
    )


def parse_workdir(statement: Statement) -> Workdir:
    return Workdir(statement.line, statement.one_argument())


def parse_user(statement: Statement) -> User:
    return User(statement.line, statement.one_argument())


def parse_volume(statement: Statement) -> Volume:
    paths = [path.strip() for path in _at_least_one(statement, statement.arguments())]
    if not all(paths):
        raise statement.fault("VOLUME specified can not be an empty string")
    return Volume(statement.line, tuple(paths))


def parse_expose(statement: Statement) -> Expose:
    return Expose(statement.line, tuple(sorted(_at_least_one(statement, words.fields(statement.rest)))))


def parse_cmd(statement: Statement) -> Cmd:
    return Cmd(statement.line, _command(statement))


def parse_entrypoint(statement: Statement) -> Entrypoint:
    return Entrypoint(statement.line, _command(statement))


def parse_shell(statement: Statement) -> Shell:
    found = _json_words(statement)
    if found is None:
        raise statement.fault("SHELL requires its arguments as a JSON array", hint='SHELL ["/bin/bash", "-c"]')
    return Shell(statement.line, tuple(_at_least_one(statement, found)))


def parse_stopsignal(statement: Statement) -> StopSignal:
    return StopSignal(statement.line, statement.one_argument())


def parse_healthcheck(statement: Statement) -> Healthcheck:
    kind, *rest = _at_least_one(statement, words.fields(statement.rest, 2))
    if kind.upper() == "NONE":
        if rest:
            raise statement.fault("HEALTHCHECK NONE takes no arguments", rest[0])
        return Healthcheck(statement.line, ("NONE",))
    if kind.upper() != "CMD":
        raise statement.fault(f"unknown type {kind} in HEALTHCHECK", kind, "try HEALTHCHECK CMD …")
    command = _command(statement._replace(rest="".join(rest)))
    if not command.words:
        raise statement.fault("HEALTHCHECK CMD lacks the command")
    retries = statement.text("retries") or "0"
    if not re.fullmatch(r"\+?[0-9]{1,9}", retries):
        raise statement.fault(f"--retries is not a number: {retries}", retries)
    return Healthcheck(
        statement.line,
        ("CMD-SHELL" if command.shell else "CMD", *command.words),
        _duration(statement, "interval"),
        _duration(statement, "timeout"),
        _duration(statement, "start-period"),
        _duration(statement, "start-interval"),
        int(retries),
    )


def parse_maintainer(statement: Statement) -> Maintainer:
    return Maintainer(statement.line, statement.one_argument())


def parse_onbuild(statement: Statement) -> OnBuild:
    keyword = "".join(_at_least_one(statement, words.fields(statement.rest, 2))[:1]).upper()
    if keyword == "ONBUILD":
        raise statement.fault("chaining ONBUILD via ONBUILD ONBUILD is not allowed")
    if keyword in ("FROM", "MAINTAINER"):
        raise statement.fault(f"{keyword} is not allowed as an ONBUILD trigger")
    start = len(statement.line.text.rstrip()) - len(statement.rest)
    # What a child's build will parse is parsed now, while its line can be shown.
    pieces = tuple(piece._replace(start=piece.start - start) for piece in statement.line.pieces)
    parse(statement.line._replace(text=statement.rest, pieces=pieces), statement.escape)
    contents = (f"\n{document.content}{document.name}" for document in statement.line.heredocs)
    return OnBuild(statement.line, statement.rest + "".join(contents))


Found = TypeVar("Found")
_TEXT, _TEXTS, _SWITCH = "text", "texts", "switch"
_TRANSFER_FLAGS = {"chown": _TEXT, "chmod": _TEXT, "link": _SWITCH, "exclude": _TEXTS}
_HEALTH_FLAGS = dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), _TEXT)

_PARSERS: dict[str, tuple[Callable[[Statement], From | Instruction], Mapping[str, str]]] = {
    "ADD": (parse_add, {**_TRANSFER_FLAGS, "checksum": _TEXT, "keep-git-dir": _SWITCH, "unpack": _SWITCH}),
    "ARG": (parse_arg, {}),
    "CMD": (parse_cmd, {}),
    "COPY": (parse_copy, {**_TRANSFER_FLAGS, "from": _TEXT, "parents": _SWITCH}),
    "ENTRYPOINT": (parse_entrypoint, {}),
    "ENV": (parse_env, {}),
    "EXPOSE": (parse_expose, {}),
    "FROM": (parse_from, {"platform": _TEXT}),
    "HEALTHCHECK": (parse_healthcheck, _HEALTH_FLAGS),
    "LABEL": (parse_label, {}),
    "MAINTAINER": (parse_maintainer, {}),
    "ONBUILD": (parse_onbuild, {}),
    "RUN": (parse_run, {"mount": _TEXTS, "network": _TEXT, "security": _TEXT, "device": _TEXTS}),
    "SHELL": (parse_shell, {}),
    "STOPSIGNAL": (parse_stopsignal, {}),
    "USER": (parse_user, {}),
    "VOLUME": (parse_volume, {}),
    "WORKDIR": (parse_workdir, {}),
}


def _flags(line: Line, given: tuple[str, ...], known: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for flag in given:
        dashed, equals, value = flag.partition("=")
        name = dashed[2:]
        if name not in known:
            raise line.fault(f"unknown flag: {dashed}", dashed, hint=did_you_mean(name, list(known), "--{}"))
        if known[name] == _SWITCH:
            value = value.lower() if equals else "true"
            if value not in ("true", "false"):
                raise line.fault(f"{dashed} is either true or false, not {value!r}", dashed)
        elif not equals:
            raise line.fault(f"{dashed} lacks a value", dashed, hint=f"write it as {dashed}=VALUE")
        if name in found and known[name] != _TEXTS:
            raise line.fault(f"{dashed} is given twice", dashed)
        found[name] = (*found.get(name, ()), value)
    return found


def _at_least_one(statement: Statement, found: list[Found]) -> list[Found]:
    if not found:
        raise statement.fault(f"{statement.keyword} requires at least one argument")
    return found


def _json_words(statement: Statement) -> list[str] | None:
    """The rest as a JSON array of texts, or None if it is no JSON array. Raises Invalid for other arrays."""
    if not lines.is_exec_form(statement.rest):
        return None
    found = json.loads(statement.rest)
    if not all(isinstance(word, str) for word in found):
        raise statement.fault("the JSON array may hold only texts", "[")
    if any("\0" in word for word in found):
        raise statement.fault("the JSON array holds a NUL character", "[")
    return [re.sub("[\ud800-\udfff]", "�", word) for word in found]


def _command(statement: Statement) -> Command:
    exec_form = _json_words(statement)
    if exec_form is not None:
        return Command(tuple(exec_form), shell=False)
    return Command((statement.rest,) if statement.rest else (), shell=True)


def _pairs(statement: Statement) -> tuple[tuple[str, str], ...]:
    """``name=value …``, or with a first word without ``=`` the old form: one name, and all that follows its value."""
    found = _at_least_one(statement, words.split(statement.rest, statement.escape))
    if "=" not in found[0]:
        name, *value = words.fields(statement.rest, 2)
        if not value:
            raise statement.fault(
                f"{statement.keyword} must have two arguments", found[0], f"{statement.keyword} {found[0]}=VALUE"
            )
        return ((name, value[0]),)
    pairs = []
    for word in found:
        name, equals, text = word.partition("=")
        if not equals:
            raise statement.fault(f"{word!r} is not of the form name=value", word)
        if not name:
            raise statement.fault(f"{statement.keyword} names can not be blank", word)
        pairs.append((name, text))
    return tuple(pairs)


def _transfer(statement: Statement) -> Transfer:
    keyword, found = statement.keyword, statement.arguments()
    if len(found) < 2:
        raise _one_argument_only(statement, found)
    *sources, dest = found
    documents = {document.name: document for document in statement.line.heredocs}
    plain, inline = [], []
    for source in sources:
        announced = _heredoc(statement, source)
        if announced and announced.name in documents:
            inline.append(_named_like_a_file(statement, documents[announced.name]))
        else:
            plain.append(source)
    if documents and _heredoc(statement, dest):
        raise statement.fault(f"{keyword} cannot accept a here-document as a destination", dest)
    return Transfer(
        statement.line,
        keyword,
        tuple(plain),
        tuple(inline),
        dest,
        chown=statement.text("chown"),
        chmod=statement.text("chmod"),
        link=statement.switch("link"),
        exclude=statement.flags.get("exclude", ()),
    )


def _one_argument_only(statement: Statement, found: list[str]) -> SampanError:
    keyword = statement.keyword
    if not found:
        return statement.fault(f"{keyword} requires a source and a destination", hint=f"{keyword} SOURCE… DESTINATION")
    word = found[0]
    # "COPY requirements.txt." is the typing error that everyone makes once.
    source = word[:-1] if word.endswith(".") and word.strip(".") else word
    return statement.fault(
        f"{keyword} requires at least two arguments, but only one was provided: the destination is missing",
        word,
        f"{keyword} {source} .",
    )


def _heredoc(statement: Statement, word: str) -> Heredoc | None:
    try:
        return lines.heredoc(word)
    except Invalid as error:
        raise statement.fault(error.message, word) from None


def _named_like_a_file(statement: Statement, document: Heredoc) -> Heredoc:
    if "/" in document.name or document.name in (".", ".."):
        raise statement.fault(f"a here-document cannot be named {document.name}", "<<", "its name is the file's name")
    return document


_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def _duration(statement: Statement, flag: str) -> int:
    """A duration as Go writes it (``1m30s``), in nanoseconds."""
    text = statement.text(flag)
    if text in ("", "0"):
        return 0
    amounts = _AMOUNT.findall(text)
    if "".join(number + unit for number, unit in amounts) != text.removeprefix("+"):
        raise statement.fault(f"--{flag} is not a duration: {text}", text, "write it as 30s or 1m30s")
    total = sum(round(float(number) * _UNITS[unit]) for number, unit in amounts)
    if 0 < total < 10**6:
        raise statement.fault(f"--{flag} cannot be less than 1ms", text)
    return total
