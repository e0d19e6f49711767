"""Typed instructions, each with its line: what a Dockerfile says, understood and not yet obeyed.

What can be said here may still be refused by ``apply``: a flag that nothing performs is never dropped.
"""

from __future__ import annotations

import re

from sampan.build.dockerfile.lines import Heredoc, Line
from sampan.build.dockerfile.mounts import RunMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple


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
    mounts: tuple[RunMount, ...] = ()
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


def looks_like_exec_form(command: Command) -> bool:
    """Whether a shell command was probably meant as a JSON array; ``[ -f x ]`` and ``[ "$a" = b ]`` were not."""
    text = command.words[0].strip() if command.shell and command.words else ""
    return text.startswith("[") and bool(
        re.fullmatch(r"""\[(?:['"“].*|\s*['"“][^'"”]*['"”]\s*,.*)\]""", text, re.DOTALL)
    )
