"""What a RUN installs with Python's tools, as far as it can be told without running a shell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sampan.build.dockerfile.instructions import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_OWN_TOOLS = ("pip", "setuptools", "wheel", "uv")
"""What installs packages: nobody pins it, and it is not what the image is for."""
_SWITCHES = frozenset(
    "-U --upgrade --pre --user --no-deps --no-cache-dir --no-cache --no-index --no-input --quiet -q -qq --verbose -v "
    "--force-reinstall --ignore-installed -I --no-build-isolation --no-compile --compile --require-hashes --isolated "
    "--disable-pip-version-check --no-warn-script-location --break-system-packages --prefer-binary --use-pep517 "
    "--system --dry-run --no-python-version-warning --no-color --strict --reinstall --compile-bytecode -n --dev "
    "--no-sync --frozen --locked --offline --exact --force --include-deps --no-progress --no-clean -e --editable"
    "".split()
)
"""Options of pip, uv and pipx that take no value, and those whose value is a package."""
_PROJECT_TOOLS = {
    "poetry": ("install", "sync"),
    "pipenv": ("install", "sync"),
    "pdm": ("install", "sync"),
    "conda": ("env",),
    "mamba": ("env",),
    "micromamba": ("env",),
}
"""What installs what a file of the project names, by which of its commands."""
_SHELLS = ("sh", "bash", "ash", "dash", "zsh")
_NO_COMMANDS = ("echo", "printf", "grep", "apt-get", "apt", "apk", "yum", "dnf")
"""What takes the names of the tools as words."""
_EXACT = re.compile(r"===?\s*[^\s*,;]+(?:[\s,;]|$)")
_FILE = re.compile(r"[/$*]|\.(?:whl|zip|gz)$|^\.")
_DEPTH = 3


class Install(NamedTuple):
    """One command. ``variables`` are set for it alone."""

    tool: str
    arguments: tuple[str, ...]
    variables: tuple[str, ...] = ()
    of_project: bool = False
    """It names no packages: a file of the project does."""

    @property
    def from_file(self) -> bool:
        return self.of_project or any(re.match("-r|--requirement", word) for word in self.arguments)

    @property
    def open_packages(self) -> list[str]:
        """The packages that are named of which the version, whichever is the newest then, is left open."""
        if self.of_project or any(re.match("-c|--constraint|--no-index$", word) for word in self.arguments):
            return []
        return [name for name in _packages(self) if _is_open(name)]


def installs(run: Run) -> list[Install]:
    """What ``run`` installs with pip, pipx, uv and others that install what a project's file names."""
    texts: tuple[str, ...] = (*run.command.words, *(document.body for document in run.line.heredocs))
    if not any("install" in text or "sync" in text or " add" in text or "env" in text for text in texts):
        return []
    commands = _commands_of(run.command.words, run.command.shell)
    inline = (words for document in run.line.heredocs for words in _lines(document.body))
    found = (_install(words) for words in (*commands, *inline))
    return [install for install in found if install]


def _commands_of(words: Sequence[str], shell: bool) -> Iterator[list[str]]:
    if not shell:
        yield from _inner(list(words))
        return
    for text in words:
        yield from _lines(text)


def _lines(text: str, depth: int = 0) -> Iterator[list[str]]:
    for line in re.sub(r"\\\n", " ", text).splitlines():
        for words in _commands(line):
            yield from _inner(words, depth)


def _inner(words: list[str], depth: int = 0) -> Iterator[list[str]]:
    """A command, or what it has a shell do (``sh -c "…"``)."""
    program = words[0].rpartition("/")[2] if words else ""
    at = next((index for index, word in enumerate(words[1:], 1) if re.fullmatch("-[a-z]*c", word)), 0)
    if program in _SHELLS and 0 < at < len(words) - 1 and depth < _DEPTH:
        yield from _lines(words[at + 1], depth + 1)
    else:
        yield words


def _commands(line: str) -> Iterator[list[str]]:
    """The simple commands on a line of shell."""
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
    if words and words[0] in _NO_COMMANDS:
        return None
    for index, word in enumerate(words):
        tool, rest = word.rpartition("/")[2], words[index + 1 :]
        variables = tuple(before.partition("=")[0] for before in words[:index] if "=" in before)
        if tool == "uv":
            return _of_uv(rest, variables)
        if re.fullmatch(r"pipx|pip[0-9.]*", tool) and "install" in rest:
            verb = rest.index("install")
            return Install("pip", (*rest[:verb], *rest[verb + 1 :]), variables)
        if any(verb in rest[:2] for verb in _PROJECT_TOOLS.get(tool, ())):
            return Install(tool, tuple(rest), variables, of_project=True)
    return None


def _of_uv(words: list[str], variables: tuple[str, ...]) -> Install | None:
    verbs = [word for word in words if not word.startswith("-")]
    if verbs[:1] == ["sync"] or verbs[:2] == ["pip", "sync"]:
        return Install("uv", tuple(words), variables, of_project=True)
    for verb in (["pip", "install"], ["tool", "install"], ["add"]):
        if verbs[: len(verb)] == verb:
            at = words.index(verb[-1])
            before = [word for word in words[:at] if word not in verb]
            return Install("uv", (*before, *words[at + 1 :]), variables)
    return None


def _packages(install: Install) -> Iterator[str]:
    """The packages that are named, without options and what belongs to these."""
    takes_value = False
    for word in install.arguments:
        if not word.startswith("-") and not takes_value:
            yield word
        is_whole = "=" in word or (len(word) > 2 and not word.startswith("--"))
        takes_value = word.startswith("-") and word not in _SWITCHES and not is_whole


def _is_open(package: str) -> bool:
    """Whether another version may come by that name tomorrow: ``flask>=3``, ``git+https://…`` without a revision."""
    name = package.rpartition(" @ ")[2]
    if "://" in name:
        path = name.partition("://")[2].partition("/")[2]
        return bool(re.match(r"(?:git|hg|svn|bzr)\+", name)) and "$" not in name and "@" not in path.partition("#")[0]
    if _EXACT.search(name):
        return False
    if "==" not in name and (_FILE.search(name) or "@" in name):
        return False
    return re.split(r"[\s\[<>=!~;]", name, maxsplit=1)[0].lower() not in _OWN_TOOLS
