"""Checks for people who put Python into images: what works, and is slow, large, or another thing tomorrow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.build.dockerfile import instructions, rules, values
from sampan.build.dockerfile.findings import Finding
from sampan.build.dockerfile.instructions import Arg, Entrypoint, Env, Instruction, Run, Transfer, User
from sampan.build.dockerfile.stages import Dockerfile
from sampan.build.dockerfile.view import View
from sampan.errors import Invalid
from sampan.oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_ROOT = ("", "root", "0")
_OWN_TOOLS = ("pip", "setuptools", "wheel", "uv")
"""What installs packages: nobody pins it, and it is not what the image is for."""
_SWITCHES = frozenset(
    "-U --upgrade --pre --user --no-deps --no-cache-dir --no-cache --no-index --no-input --quiet -q -qq --verbose -v "
    "--force-reinstall --ignore-installed -I --no-build-isolation --no-compile --compile --require-hashes --isolated "
    "--disable-pip-version-check --no-warn-script-location --break-system-packages --prefer-binary --use-pep517 "
    "--system --dry-run --no-python-version-warning --no-color --strict --reinstall --compile-bytecode".split()
)
"""Options of pip and uv that take no value."""
_CACHE_OFF = {"pip": ("--no-cache-dir", "PIP_NO_CACHE_DIR"), "uv": ("--no-cache", "UV_NO_CACHE")}
_PINNED = re.compile(r"==|@|[/$*]|\.(?:whl|zip|gz)$|^\.")
_PASSWORD_IN_URL = re.compile(r"""[a-z][a-z0-9+.-]*://[^\s/@:'"]*:([^\s/@'"$]+)@""", re.IGNORECASE)
_TOKEN = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|pypi-[\w-]{50,}|xox[abprs]-[\w-]{10,}"
    r"|sk-[\w-]{32,}|hf_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16})\b"
)
_SECRET_NAME = re.compile(
    r"(?:_|^)(?:password|pword|passwd|secret|token|api_?key|(?:access|secret|private)_key)$", re.IGNORECASE
)
_NO_SECRET = re.compile(r"""["']?(?:.{0,3}|true|false|none|null|[/.].*|.*[$<].*)["']?""", re.IGNORECASE | re.DOTALL)


class Install(NamedTuple):
    """One ``pip install``, ``uv pip install`` or ``uv sync``. ``variables`` are set for it alone."""

    tool: str
    arguments: tuple[str, ...]
    variables: tuple[str, ...] = ()

    @property
    def from_file(self) -> bool:
        return any(re.match("-r|--requirement|sync$", word) for word in self.arguments)


def of_base(view: View) -> Iterator[Finding]:
    """What concerns the image that a stage begins with."""
    if view.base == "scratch" or not view.base or len(view.bases) > 1:
        return
    try:
        reference = references.parse(view.base)
    except Invalid:
        return  # translate says what is wrong with it
    if reference.registry != "localhost" and not reference.digest and reference.tag in (None, "latest"):
        message = f"the base image {reference.familiar_name} has no version"
        yield Finding(rules.UnpinnedBase, message, view.stage.base.line, view.stage.base.image)


def of_file(dockerfile: Dockerfile) -> Iterator[Finding]:
    """What concerns the text alone."""
    for instruction in (*dockerfile.preamble, *(found for stage in dockerfile.stages for found in stage.body)):
        for secret in credentials(instruction):
            message = f"{instruction.line.text.split()[0].upper()} holds what looks like a credential"
            yield Finding(rules.CredentialsInImage, message, instruction.line, secret)


def of_instruction(view: View, instruction: Instruction) -> Iterator[Finding]:
    """What concerns an instruction in its stage."""
    if isinstance(instruction, Entrypoint):
        command = instruction.command
        if command.shell and command.words and not command.words[0].startswith("exec "):
            message = "the shell that runs ENTRYPOINT does not pass on the signal to stop"
            yield Finding(rules.ShellFormEntrypoint, message, instruction.line, command.words[0])
    elif isinstance(instruction, Run):
        for install in installs(instruction):
            yield from _unpinned(instruction, install)
            yield from _source_first(view, install)
            yield from _cache(view, instruction, install)


def of_image(view: View) -> Iterator[Finding]:
    """What concerns the image that comes of the target, when all of it was read."""
    runs = any(isinstance(found, instructions.Cmd | Entrypoint) for found in view.body)
    if view.base == "scratch" and not runs:
        return
    user = view.user if view.user is not None else "" if "nonroot" not in view.base else "nonroot"
    if user.partition(":")[0] in _ROOT:
        last = next((found for found in reversed(view.body) if isinstance(found, User)), None)
        line = last.line if last else view.stage.base.line
        yield Finding(rules.RunsAsRoot, "the image runs as root", line, last.user if last else view.stage.base.image)
    if _is_python(view) and "PYTHONUNBUFFERED" not in view.env:
        message = "PYTHONUNBUFFERED is not set"
        yield Finding(rules.PythonOutputBuffered, message, view.stage.base.line, view.stage.base.image)


def credentials(instruction: Instruction) -> list[str]:
    """What looks like a credential in an instruction."""
    line = instruction.line
    text = "\n".join((line.text, *(document.content for document in line.heredocs)))
    found = _PASSWORD_IN_URL.findall(text) + _TOKEN.findall(text)
    pairs: list[tuple[str, str | None]] = []
    if isinstance(instruction, Env):
        pairs += instruction.pairs
    elif isinstance(instruction, Arg):
        pairs += instruction.definitions
    for name, value in pairs:
        if value and _SECRET_NAME.search(name) and not _NO_SECRET.fullmatch(value):
            found.append(value)
    return found


def installs(run: Run) -> list[Install]:
    """What ``run`` installs with pip or uv."""
    texts = run.command.words if run.command.shell else (" ".join(run.command.words),)
    texts = (*texts, *(document.body for document in run.line.heredocs))
    if not any("install" in text or "sync" in text for text in texts):
        return []
    found = (_install(words) for text in texts for line in text.splitlines() for words in _commands(line))
    return [install for install in found if install]


def _commands(line: str) -> Iterator[list[str]]:
    """The simple commands on a line of shell, as far as they can be told without a shell."""
    import shlex

    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        tokens = list(lexer)
    except ValueError:
        tokens = line.split()
    command: list[str] = []
    for token in tokens:
        if token.startswith("#"):
            break
        if set(token) <= set("();<>|&"):
            yield command
            command = []
        else:
            command.append(token)
    yield command


def _install(words: list[str]) -> Install | None:
    for index, word in enumerate(words):
        tool, rest = word.rpartition("/")[2], words[index + 1 :]
        variables = tuple(before.partition("=")[0] for before in words[:index] if "=" in before)
        if tool == "uv" and ("sync" in rest or rest[:2] == ["pip", "install"]):
            arguments = ("sync", *rest[rest.index("sync") + 1 :]) if "sync" in rest else tuple(rest[2:])
            return Install("uv", arguments, variables)
        if re.fullmatch(r"pip[0-9.]*", tool) and "install" in rest:
            verb = rest.index("install")
            return Install("pip", (*rest[:verb], *rest[verb + 1 :]), variables)
    return None


def _packages(install: Install) -> Iterator[str]:
    """The packages that are named, without options and what belongs to these."""
    takes_value = False
    for word in install.arguments:
        if not word.startswith("-") and not takes_value:
            yield word
        takes_value = word.startswith("-") and word not in _SWITCHES and "=" not in word


def _unpinned(run: Run, install: Install) -> Iterator[Finding]:
    if install.arguments[:1] == ("sync",) or any(re.match("-c|--constraint", word) for word in install.arguments):
        return
    named = [name for name in _packages(install) if not _PINNED.search(name) and name.lower() not in _OWN_TOOLS]
    if named:
        message = f"whatever version is the newest will be installed of {', '.join(named)}"
        yield Finding(rules.UnpinnedInstall, message, run.line, named[0])


def _source_first(view: View, install: Install) -> Iterator[Finding]:
    if not install.from_file or any(isinstance(found, Run) and installs(found) for found in view.own):
        return
    for found in view.own:
        if (
            isinstance(found, Transfer)
            and not found.from_
            and any(values.inside(each) == "." for each in found.sources)
        ):
            message = "everything is copied before the requirements are installed"
            yield Finding(rules.SourceBeforeRequirements, message, found.line)


def _cache(view: View, run: Run, install: Install) -> Iterator[Finding]:
    flag, variable = _CACHE_OFF[install.tool]
    if flag in install.arguments:
        yield Finding(rules.CacheDisabled, f"{flag} downloads everything anew in every build", run.line, flag)
        return
    is_mounted = any(dict(mount.words).get("type") == "cache" for mount in run.mounts)
    text = " ".join(run.command.words)
    is_removed = "cache purge" in text or "cache clean" in text or re.search(r"rm\s+-\w+\s+\S*\.cache", text)
    if not (is_mounted or is_removed or variable in view.variables or variable in install.variables):
        message = f"the cache of {install.tool} stays in the layer of a builder that mounts none"
        yield Finding(rules.CacheLeftInLayer, message, run.line, install.tool)


def _is_python(view: View) -> bool:
    if "python" in view.base.lower() or "PYTHON_VERSION" in view.env:
        return True
    commands = [found.command.words for found in view.body if isinstance(found, instructions.Cmd | Entrypoint)]
    return any(re.match(r"(?:\S*/)?(?:python|gunicorn|uvicorn)", words[0]) for words in commands if words)
