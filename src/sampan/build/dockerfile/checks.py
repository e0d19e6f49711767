"""Docker's checks: when each fires, and in which words (BuildKit, dockerfile2llb/validations.go).

An ``on_X`` looks at one instruction X of a stage, before the stage's view has taken it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from sampan.build.dockerfile import arguments, findings, instructions, rules, values, words
from sampan.build.dockerfile.findings import Finding, Surroundings
from sampan.build.dockerfile.instructions import Arg, From, Instruction
from sampan.build.dockerfile.lines import Line
from sampan.build.dockerfile.stages import Dockerfile, Stage
from sampan.build.dockerfile.view import View, platform
from sampan.build.dockerfile.words import Rules
from sampan.errors import Invalid
from sampan.oci import platform as platforms
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RESERVED = ("context", "scratch")
_PREDEFINED = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_REMOTE = re.compile(r"https?://|git://|ssh://|[\w.-]+@")


def of_file(dockerfile: Dockerfile) -> Iterator[Finding]:
    """What concerns the text alone."""
    seen: set[str] = set()
    for stage in dockerfile.stages:
        yield from _of_name(stage, seen, dockerfile.escape)
    yield from _casing(dockerfile)
    for line in _lines(dockerfile):
        if line.blank:
            rule = rules.NoEmptyContinuation
            yield Finding(rule, "Empty continuation line", findings.alone(line, line.blank))
    for arg in dockerfile.preamble:
        yield from _description(arg)
    for stage in dockerfile.stages:
        for found in (stage.base, *stage.body):
            yield from _description(found)
            if isinstance(found, instructions.Maintainer):
                message = "Maintainer instruction is deprecated in favor of using label"
                yield Finding(rules.MaintainerDeprecated, message, found.line, _keyword(found.line))


def of_defaults(dockerfile: Dockerfile, predefined: Mapping[str, str]) -> Iterator[Finding]:
    """Bases that make no image's name unless ``--build-arg`` is given."""
    defaults = arguments.global_args(dockerfile.preamble, predefined, {}, dockerfile.escape)
    for stage in dockerfile.stages:
        text = stage.base.image
        if "$" in text and not _is_reference(words.expand(text, defaults, Rules(dockerfile.escape))):
            message = f"Default value for ARG {text} results in empty or invalid base image name"
            yield Finding(rules.InvalidDefaultArgInFrom, message, stage.base.line, text)


def of_base(
    stage: Stage, globals_: Mapping[str, str], declared: Collection[str], around: Surroundings, escape: str
) -> Iterator[Finding]:
    """What concerns a FROM; ``declared`` are the arguments that it may use."""
    base = stage.base
    for text in (base.image, base.platform):
        with base.line.showing(text):
            used = words.names(text, globals_, Rules(escape))
        for name in used:
            if name not in declared:
                message = f"FROM argument '{name}' is not declared{_meant(name, declared, '{}')}"
                yield Finding(rules.UndefinedArgInFrom, message, base.line, text)
    if base.platform:
        yield from _of_platform(base, globals_, escape)
    yield from _mismatch(stage, globals_, around, escape)


def of_instruction(view: View, instruction: Instruction) -> Iterator[Finding]:
    """What concerns an instruction in its stage."""
    line = instruction.line
    here = {name for name, _ in instruction.definitions} if isinstance(instruction, Arg) else ()
    for text in _expanded(instruction):
        yield from _undefined(view, line, text, here)
    for document in instruction.inline if isinstance(instruction, instructions.Transfer) else ():
        yield from _undefined(view, line, document.body, quotes=False) if document.expands else ()
    check = _CHECKS.get(type(instruction))
    if check:
        yield from check(view, instruction)


def on_env(view: View, env: instructions.Env) -> Iterator[Finding]:
    yield from _legacy(view, env)
    for name, _ in env.pairs:
        yield from _secret("ENV", name, env.line)


def on_label(view: View, label: instructions.Label) -> Iterator[Finding]:
    return _legacy(view, label)


def on_arg(view: View, arg: Arg) -> Iterator[Finding]:
    for name, _ in arg.definitions:
        yield from _secret("ARG", name, arg.line)
    if _means_value(view, arg):
        yield from _legacy(view, arg)


def _means_value(view: View, arg: Arg) -> bool:
    """Whether ``ARG name text`` is probably meant as ``ARG name=text``, though it declares two arguments: the second is
    not called as arguments are, and nothing in the stage uses it."""
    if len(arg.definitions) != 2 or any(default is not None for _, default in arg.definitions):
        return False
    name = arg.definitions[1][0]
    if name.isupper() or name in view.globals or name in view.around.build_args or name in arguments.PROXY_ARGS:
        return False
    lines = [found.line for found in view.stage.body if found is not arg]
    texts = (text for line in lines for text in (line.text, *(document.content for document in line.heredocs)))
    return not any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts)


def on_command(view: View, command: instructions.Cmd | instructions.Entrypoint) -> Iterator[Finding]:
    yield from _once(view, command)
    if command.command.shell and command.command.words and not view.shell:
        name = _keyword(command.line)
        message = f"JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
        yield Finding(rules.JSONArgsRecommended, message, command.line, command.command.words[0])


def on_healthcheck(view: View, check: instructions.Healthcheck) -> Iterator[Finding]:
    return _once(view, check)


def on_workdir(view: View, workdir: instructions.Workdir) -> Iterator[Finding]:
    path = view.expand(workdir.line, workdir.path)
    if not view.entered and not path.startswith("/"):
        message = f"Relative workdir {_quoted(path)} can have unexpected results if the base image changes"
        yield Finding(rules.WorkdirRelativePath, message, workdir.line, workdir.path)


def on_expose(view: View, expose: instructions.Expose) -> Iterator[Finding]:
    for written in expose.ports:
        for port in _words(view, expose.line, written):
            yield from _of_port(port, expose.line, written)


def on_transfer(view: View, transfer: instructions.Transfer) -> Iterator[Finding]:
    for written in () if transfer.from_ else transfer.sources:
        source = view.expand(transfer.line, written)
        if not _REMOTE.match(source) and view.around.hides(source):
            message = f"Attempting to {transfer.keyword.capitalize()} file {_quoted(values.inside(source))}"
            yield Finding(rules.CopyIgnoredFile, f"{message} that is excluded by .dockerignore", transfer.line, written)


_CHECKS: dict[type, Callable[[View, Any], Iterator[Finding]]] = {
    Arg: on_arg,
    instructions.Cmd: on_command,
    instructions.Entrypoint: on_command,
    instructions.Env: on_env,
    instructions.Expose: on_expose,
    instructions.Healthcheck: on_healthcheck,
    instructions.Label: on_label,
    instructions.Transfer: on_transfer,
    instructions.Workdir: on_workdir,
}


def _of_name(stage: Stage, seen: set[str], escape: str) -> Iterator[Finding]:
    line, name = stage.base.line, stage.base.name
    if not name:
        return
    keyword, _, rest = words.split_statement(line.text, escape)
    _, as_, written = words.fields(rest)
    if written != name:
        yield Finding(rules.StageNameCasing, f"Stage name '{written}' should be lowercase", line, written)
    if _is_consistent(keyword) and as_ != (as_.lower() if keyword.islower() else as_.upper()):
        yield Finding(rules.FromAsCasing, f"'{as_}' and '{keyword}' keywords' casing do not match", line, as_)
    if name in _RESERVED:
        message = f"Stage name should not use the same name as reserved stage {_quoted(name)}"
        yield Finding(rules.ReservedStageName, message, line, written)
    if name in seen:
        message = f"Duplicate stage name {_quoted(name)}, stage names should be unique"
        yield Finding(rules.DuplicateStageName, message, line, written)
    seen.add(name)


def _casing(dockerfile: Dockerfile) -> Iterator[Finding]:
    written = [(line, _keyword(line)) for line in _lines(dockerfile)[len(dockerfile.preamble) :]]
    consistent = [word for _, word in written if _is_consistent(word)]
    lower = 2 * sum(word.islower() for word in consistent) > len(consistent)
    case = "lowercase" if lower else "uppercase"
    for line, word in written:
        if word != (word.lower() if lower else word.upper()):
            message = f"Command '{word}' should match the case of the command majority ({case})"
            yield Finding(rules.ConsistentInstructionCasing, message, line, word)


def _description(found: From | Instruction) -> Iterator[Finding]:
    comments = [text for text in found.line.comments if not text.lower().startswith("check=")]
    if isinstance(found, From):
        keyword, names = "FROM", [found.name] if found.name else []
    elif isinstance(found, Arg):
        keyword, names = "ARG", [name for name, _ in found.definitions]
    else:
        return
    if comments and names and comments[-1].split(" ")[0] not in names:
        shown = names[0] if len(names) == 1 else "<arg_key>"
        message = f"Comment for {keyword} should follow the format: `# {shown} <description>`"
        yield Finding(rules.InvalidDefinitionDescription, message, found.line)


def _of_platform(base: From, globals_: Mapping[str, str], escape: str) -> Iterator[Finding]:
    used = words.names(base.platform, globals_, Rules(escape))
    value = words.expand(base.platform, globals_, Rules(escape))
    if list(used) == ["TARGETPLATFORM"] and value == globals_.get("TARGETPLATFORM"):
        message = f"Setting platform to predefined {base.platform} in FROM is redundant as this is the default behavior"
        yield Finding(rules.RedundantTargetPlatform, message, base.line, base.platform)
    if not used:
        with base.line.showing(base.platform):
            parsed = platforms.parse(value)
        if parsed.os not in base.name and parsed.architecture not in base.name:
            message = f"FROM --platform flag should not use constant value {_quoted(value)}"
            yield Finding(rules.FromPlatformFlagConstDisallowed, message, base.line, base.platform)


def _mismatch(stage: Stage, globals_: Mapping[str, str], around: Surroundings, escape: str) -> Iterator[Finding]:
    base = words.expand(stage.base.image, globals_, Rules(escape))
    wanted = platform(stage, globals_, around, escape)
    config = around.config(base, wanted) if base not in ("", "scratch") else None
    if config and (config.platform.os, config.platform.architecture) != (wanted.os, wanted.architecture):
        found, expected = _quoted(str(config.platform)), _quoted(str(wanted))
        message = f"Base image {base} was pulled with platform {found}, expected {expected} for current build"
        yield Finding(rules.InvalidBaseImagePlatform, message, stage.base.line, stage.base.image)


def _undefined(
    view: View, line: Line, text: str, here: Collection[str] = (), *, quotes: bool = True
) -> Iterator[Finding]:
    for name in view.unset(line, text, quotes=quotes):
        meant = _meant(name, view.variables, "${}")
        # Without the base image's config a name may well be one of its variables, unless it looks like a slip.
        if name not in (*_PREDEFINED, *here) and (view.is_known or meant):
            message = f"Usage of undefined variable '${name}'{meant}"
            yield Finding(rules.UndefinedVar, message, line, text if quotes else "<<")


def _expanded(instruction: Instruction) -> list[str]:
    """The parts of an instruction in which variables stand for their values."""
    match instruction:
        case instructions.Env() | instructions.Label():
            return [text for pair in instruction.pairs for text in pair]
        case instructions.Arg():
            return [default for _, default in instruction.definitions if default]
        case instructions.Transfer():
            flags = (instruction.chown, instruction.chmod, *instruction.exclude)
            return [*flags, *instruction.sources, instruction.dest]
        case instructions.Expose():
            return list(instruction.ports)
        case instructions.Volume():
            return list(instruction.paths)
        case instructions.User():
            return [instruction.user]
        case instructions.Workdir():
            return [instruction.path]
        case instructions.StopSignal():
            return [instruction.signal]
        case _:
            return []


def _of_port(port: str, line: Line, written: str) -> Iterator[Finding]:
    with line.showing(written):
        values.ports(port)
    where, _, protocol = port.partition("/")
    if protocol != protocol.lower():
        message = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
        yield Finding(rules.ExposeProtoCasing, message, line, written)
    if ":" in where:
        message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
        yield Finding(rules.ExposeInvalidFormat, message, line, written)


def _words(view: View, line: Line, text: str) -> list[str]:
    with line.showing(text):
        return words.expand_words(text, view.variables, Rules(view.escape))


def _legacy(view: View, found: instructions.Env | instructions.Label | Arg) -> Iterator[Finding]:
    keyword, _, rest = words.split_statement(found.line.text, view.escape)
    if "=" not in words.split(rest, view.escape)[0]:
        message = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
        yield Finding(rules.LegacyKeyValueFormat, message, found.line, rest)


def _secret(keyword: str, name: str, line: Line) -> Iterator[Finding]:
    if _SECRET.search(name) and not _NO_SECRET.search(name):
        message = f"Do not use ARG or ENV instructions for sensitive data ({keyword} {_quoted(name)})"
        yield Finding(rules.SecretsUsedInArgOrEnv, message, line, name)


def _once(view: View, instruction: Instruction) -> Iterator[Finding]:
    """Says of the one before, which counts for nothing."""
    before = [found for found in view.own if type(found) is type(instruction)]
    if before:
        name = _keyword(instruction.line)
        rest = "instructions should not be used in the same stage because only the last one will be used"
        message = f"Multiple {name} {rest}"
        yield Finding(rules.MultipleInstructionsDisallowed, message, before[-1].line, _keyword(before[-1].line))


def _lines(dockerfile: Dockerfile) -> list[Line]:
    found: list[From | Instruction] = list(dockerfile.preamble)
    for stage in dockerfile.stages:
        found += [stage.base, *stage.body]
    return [each.line for each in found]


def _keyword(line: Line) -> str:
    return line.text.split(maxsplit=1)[0]


def _is_consistent(word: str) -> bool:
    return word in (word.lower(), word.upper())


def _is_reference(text: str) -> bool:
    try:
        references.parse(text)
    except Invalid:
        return False
    return True


def _meant(name: str, known: Collection[str], template: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1, 0.6)
    return f" (did you mean {template.format(close[0])}?)" if close else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
