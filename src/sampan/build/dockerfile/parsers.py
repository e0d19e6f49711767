"""From a line to its typed instruction: a ``parse_X`` for every instruction X; grep one to add one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sampan.build.dockerfile import lines, mounts, words
from sampan.build.dockerfile.instructions import (
    Arg,
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    Transfer,
    User,
    Volume,
    Workdir,
)  # fmt: skip
from sampan.build.dockerfile.lines import Heredoc, Line
from sampan.build.dockerfile.statement import SWITCH, TEXT, TEXTS, Statement, check_flags, did_you_mean
from sampan.errors import SampanError


def parse(line: Line, escape: str = "\\") -> From | Instruction:
    """The instruction on ``line``. Raises Invalid, showing the line, with the likely fix."""
    word, flags, rest = words.split_statement(line.text, escape)
    keyword = word.upper()
    if keyword not in _PARSERS:
        raise line.fault(f"unknown instruction: {word}", word, hint=did_you_mean(keyword, list(_PARSERS)))
    parser, known = _PARSERS[keyword]
    return parser(Statement(line, keyword, check_flags(line, flags, known), rest, escape))


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
        name = found[1] if len(found) == 2 and found[1].upper() != "AS" else "NAME"
        hint = f"FROM {found[0]} AS {name}" if len(found) == 2 else "FROM IMAGE [AS NAME]"
        raise statement.fault("FROM requires either one or three arguments", hint=hint)
    return From(statement.line, found[0], name, statement.text("platform"))


def parse_arg(statement: Statement) -> Arg:
    found: list[tuple[str, str | None]] = []
    for word in words.split(statement.rest, statement.escape):
        name, equals, default = word.partition("=")
        if not name:
            raise statement.fault("ARG names can not be blank", word)
        found.append((name, default if equals else None))
    return Arg(statement.line, tuple(statement.some(found)))


def parse_env(statement: Statement) -> Env:
    return Env(statement.line, _pairs(statement))


def parse_label(statement: Statement) -> Label:
    return Label(statement.line, _pairs(statement))


def parse_run(statement: Statement) -> Run:
    command = _command(statement)
    if not command.shell:
        statement.some(list(command.words))
    for document in statement.line.heredocs:
        if not document.content.isprintable() and re.search("[\0\ud800-\udfff]", document.content):
            raise statement.fault("the here-document is not UTF-8 text", "<<")
    with statement.line.showing("--mount"):
        mounted = tuple(mounts.parse(text) for text in statement.flags.get("mount", ()))
    return Run(
        statement.line,
        command,
        mounted,
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
    return Workdir(statement.line, statement.argument())


def parse_user(statement: Statement) -> User:
    return User(statement.line, statement.argument())


def parse_volume(statement: Statement) -> Volume:
    paths = [path.strip() for path in statement.some(statement.arguments())]
    if not all(paths):
        raise statement.fault("VOLUME specified can not be an empty string")
    return Volume(statement.line, tuple(paths))


def parse_expose(statement: Statement) -> Expose:
    return Expose(statement.line, tuple(sorted(statement.some(words.fields(statement.rest)))))


def parse_cmd(statement: Statement) -> Cmd:
    return Cmd(statement.line, _command(statement))


def parse_entrypoint(statement: Statement) -> Entrypoint:
    return Entrypoint(statement.line, _command(statement))


def parse_shell(statement: Statement) -> Shell:
    found = statement.json_array()
    if found is None:
        raise statement.fault("SHELL requires its arguments as a JSON array", hint='SHELL ["/bin/bash", "-c"]')
    return Shell(statement.line, tuple(statement.some(found)))


def parse_stopsignal(statement: Statement) -> StopSignal:
    return StopSignal(statement.line, statement.argument())


def parse_healthcheck(statement: Statement) -> Healthcheck:
    kind, *rest = statement.some(words.fields(statement.rest, 2))
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
        statement.duration("interval"),
        statement.duration("timeout"),
        statement.duration("start-period"),
        statement.duration("start-interval"),
        int(retries),
    )


def parse_maintainer(statement: Statement) -> Maintainer:
    return Maintainer(statement.line, statement.argument())


def parse_onbuild(statement: Statement) -> OnBuild:
    keyword = "".join(statement.some(words.fields(statement.rest, 2))[:1]).upper()
    if keyword == "ONBUILD":
        raise statement.fault("chaining ONBUILD via ONBUILD ONBUILD is not allowed")
    if keyword in ("FROM", "MAINTAINER"):
        raise statement.fault(f"{keyword} is not allowed as an ONBUILD trigger")
    start = len(statement.line.text.rstrip()) - len(statement.rest)
    # What a child's build will parse is parsed now, while its line can be shown.
    pieces = tuple(piece._replace(start=piece.start - start) for piece in statement.line.pieces)
    parse(statement.line._replace(text=statement.rest, pieces=pieces), statement.escape)
    contents = (f"\n{document.content}{document.name}" for document in statement.line.heredocs)
    return OnBuild(statement.line, statement.line.text[start:] + "".join(contents))


_TRANSFER_FLAGS = {"chown": TEXT, "chmod": TEXT, "link": SWITCH, "exclude": TEXTS}
_HEALTH_FLAGS = dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), TEXT)

_PARSERS: dict[str, tuple[Callable[[Statement], From | Instruction], Mapping[str, str]]] = {
    "ADD": (parse_add, {**_TRANSFER_FLAGS, "checksum": TEXT, "keep-git-dir": SWITCH, "unpack": SWITCH}),
    "ARG": (parse_arg, {}),
    "CMD": (parse_cmd, {}),
    "COPY": (parse_copy, {**_TRANSFER_FLAGS, "from": TEXT, "parents": SWITCH}),
    "ENTRYPOINT": (parse_entrypoint, {}),
    "ENV": (parse_env, {}),
    "EXPOSE": (parse_expose, {}),
    "FROM": (parse_from, {"platform": TEXT}),
    "HEALTHCHECK": (parse_healthcheck, _HEALTH_FLAGS),
    "LABEL": (parse_label, {}),
    "MAINTAINER": (parse_maintainer, {}),
    "ONBUILD": (parse_onbuild, {}),
    "RUN": (parse_run, {"mount": TEXTS, "network": TEXT, "security": TEXT, "device": TEXTS}),
    "SHELL": (parse_shell, {}),
    "STOPSIGNAL": (parse_stopsignal, {}),
    "USER": (parse_user, {}),
    "VOLUME": (parse_volume, {}),
    "WORKDIR": (parse_workdir, {}),
}


def _command(statement: Statement) -> Command:
    exec_form = statement.json_array()
    if exec_form is not None:
        return Command(tuple(exec_form), shell=False)
    return Command((statement.rest,) if statement.rest else (), shell=True)


def _pairs(statement: Statement) -> tuple[tuple[str, str], ...]:
    """``name=value …``, or with a first word without ``=`` the old form: one name, and all that follows its value."""
    found = statement.some(words.split(statement.rest, statement.escape))
    if "=" not in found[0]:
        name, *value = words.fields(statement.rest, 2)
        if not value:
            raise statement.fault(
                f"{statement.keyword} must have two arguments", found[0], f"{statement.keyword} {found[0]}=VALUE"
            )
        return ((name, value[0]),)
    pairs: list[tuple[str, str]] = []
    for word in found:
        name, equals, text = word.partition("=")
        if not equals:
            hint = f'a value with spaces stands in quotes: {pairs[0][0] if pairs else "NAME"}="A VALUE"'
            raise statement.fault(f"{word!r} is not of the form name=value", word, hint)
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
        with statement.line.showing(source):
            announced = lines.heredoc(source)
        if announced and announced.name in documents:
            inline.append(_named_like_a_file(statement, documents[announced.name]))
        else:
            plain.append(source)
    with statement.line.showing(dest):
        announced = lines.heredoc(dest) if documents else None
    if announced:
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


def _named_like_a_file(statement: Statement, document: Heredoc) -> Heredoc:
    if "/" in document.name or document.name in (".", ".."):
        raise statement.fault(f"a here-document cannot be named {document.name}", "<<", "its name is the file's name")
    return document
