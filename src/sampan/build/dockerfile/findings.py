"""What lint finds, and what it was asked to look for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sampan.build.dockerfile.lines import Line, Piece
from sampan.build.dockerfile.rules import Rule
from sampan.errors import Invalid
from sampan.oci.config import ImageConfig
from sampan.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

OPTIONS_ARG = "BUILDKIT_DOCKERFILE_CHECK"
"""A build argument that stands in for the file's ``# check=``."""
_SHORT = 5
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class Finding(NamedTuple):
    """``message`` says what is wrong with ``at``, a part of ``line`` (empty for the whole)."""

    rule: Rule
    message: str
    line: Line
    at: str = ""


class Surroundings(NamedTuple):
    """What a Dockerfile is judged with."""

    platform: Platform
    build_args: Mapping[str, str]
    config: Callable[[str, Platform], ImageConfig | None]
    """The config of a base image; None if it is not at hand."""
    hides: Callable[[str], bool]
    """Whether .dockerignore keeps a path, as COPY names it, from being seen."""
    target: str | None = None
    is_context: Callable[[str], bool] = lambda name: False
    """Whether ``--build-context`` stands in for an image."""


class Options(NamedTuple):
    """``skip=A,B;experimental=C;error=true`` (Dockerfile reference, "check"); "all" stands for every rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def merged(self, other: Options) -> Options:
        return Options(self.skip | other.skip, self.experimental | other.experimental, self.error)

    def wants(self, rule: Rule) -> bool:
        names = {"all", rule.name}
        return not names.isdisjoint(self.experimental) if rule.experimental else names.isdisjoint(self.skip)


def parse_options(text: str) -> Options:
    """The options of ``# check=…``. Raises Invalid."""
    options = Options()
    for part in text.split(";") if text.strip() else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or key not in Options._fields:
            raise Invalid(f"invalid check option {part.strip()!r}", hint="skip=RULE,…;experimental=RULE,…;error=true")
        if key == "error":
            if value.lower() not in _TRUE + _FALSE:
                raise Invalid(f"invalid check option {part.strip()!r}", hint="error=true or error=false")
            options = options._replace(error=value.lower() in _TRUE)
        else:
            names = frozenset(name.strip() for name in value.split(","))
            options = options._replace(skip=names) if key == "skip" else options._replace(experimental=names)
    return options


def options_of(directives: Mapping[str, Line], build_args: Mapping[str, str]) -> Options:
    """What a build argument asks for, else what the file does. Raises Invalid, showing the line."""
    if OPTIONS_ARG in build_args:
        return parse_options(build_args[OPTIONS_ARG])
    directive = directives.get("check")
    if not directive:
        return Options()
    with directive.showing(directive.text):
        return parse_options(directive.text.partition(" ")[0])


def options_above(line: Line) -> Options:
    """What a comment right above an instruction asks for, for that instruction alone. Raises Invalid."""
    options = Options()
    for comment in line.comments:
        key, _, value = comment.partition("=")
        if key.strip().lower() == "check":
            with line.showing():
                options = options.merged(parse_options(value.strip().partition(" ")[0]))
    return options


def hiding(finding: Finding, secrets: list[str]) -> Finding:
    """``finding`` as it may be shown where nobody must read the ``secrets`` on its line."""

    def hidden(text: str) -> str:
        for secret in secrets:
            # A short one is a part of other words as well.
            pattern = re.escape(secret) if len(secret) > _SHORT else rf"(?<!\w){re.escape(secret)}(?!\w)"
            text = re.sub(pattern, "*" * len(secret), text)
        return text

    line = finding.line
    split = any(each in line.text and not any(each in piece.source for piece in line.pieces) for each in secrets)
    sources = (re.sub(r"\S", "*", piece.source) if split else hidden(piece.source) for piece in line.pieces)
    pieces = tuple(piece._replace(source=source) for piece, source in zip(line.pieces, sources, strict=True))
    documents = tuple(document._replace(content=hidden(document.content)) for document in line.heredocs)
    shown = line._replace(text=hidden(line.text), pieces=pieces, heredocs=documents)
    return finding._replace(line=shown, at=hidden(finding.at), message=hidden(finding.message)) if secrets else finding


def alone(line: Line, number: int) -> Line:
    """A blank physical line inside ``line``."""
    return line._replace(number=number, text="", pieces=(Piece(0, number, 0, ""),))
