"""The text of a Dockerfile as logical lines: directives, comments, continuations and here-documents.

BuildKit's rules (frontend/dockerfile/parser). Every line knows where it stood, so that an error can show it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sampan import plainjson
from sampan.build.dockerfile import words
from sampan.build.dockerfile.words import Rules
from sampan.build.remote import redacted
from sampan.errors import Invalid, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

MAX_BYTES = 4 << 20
"""No Dockerfile longer than this is read."""

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)", re.DOTALL)
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)", re.DOTALL)
_TAKES_HEREDOCS = ("RUN", "COPY", "ADD")
_AS_WRITTEN = Rules(keep_quotes=True, keep_escapes=True, keep_unset=True)
_MAX_SHOWN = 110


class Heredoc(NamedTuple):
    """A here-document. ``content`` is as written: ``body`` gives it without the tabs that ``<<-`` takes away."""

    name: str
    content: str = ""
    expands: bool = True
    """The word after ``<<`` has no quotes."""
    strips_tabs: bool = False

    @property
    def body(self) -> str:
        return re.sub(r"^\t+", "", self.content, flags=re.MULTILINE) if self.strips_tabs else self.content


class Piece(NamedTuple):
    """A part of a logical line's text, from ``start`` on: the physical line that it is from, and its column there."""

    start: int
    number: int
    column: int
    source: str


class Spot(NamedTuple):
    """A part of a physical line: its characters from ``begin`` up to ``end``, counted from 0."""

    number: int
    source: str
    begin: int
    end: int

    def excerpt(self) -> str:
        """The source line with a caret under the spot."""
        return _excerpt(self.number, redacted(self.source, keep_length=True), self.begin, self.end)


class Line(NamedTuple):
    """A logical line: an instruction with its continuations joined. ``number`` counts physical lines from 1."""

    filename: str
    number: int
    text: str
    pieces: tuple[Piece, ...]
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    """What the comments say that stand right above."""
    blank: int = 0
    """The number of the first blank line in a continuation, 0 if there is none."""

    def spot(self, at: str = "") -> Spot:
        """Where ``at`` (a part of the text or of a here-document) stands; the first physical line if nowhere."""
        start = _find(self.text, at)
        if start < 0 and at and (spot := self._spot_below(at)):
            return spot
        index = bisect_right(self.pieces, start, key=lambda piece: piece.start) - 1 if start >= 0 else 0
        piece = self.pieces[index]
        shown = piece.source.rstrip()
        if start < 0:
            return Spot(piece.number, shown, len(shown) - len(shown.lstrip()), len(shown))
        following = self.pieces[index + 1].start if index + 1 < len(self.pieces) else len(self.text)
        column = piece.column - piece.start
        return Spot(piece.number, shown, column + start, column + min(start + len(at), following))

    def _spot_below(self, at: str) -> Spot | None:
        """Where ``at`` stands in a here-document."""
        number = self.pieces[-1].number + 1
        for document in self.heredocs:
            sources = document.content.splitlines()
            for offset, source in enumerate(sources):
                if (begin := source.find(at)) >= 0:
                    return Spot(number + offset, source, begin, begin + len(at))
            number += len(sources) + 1
        return None

    def fault(
        self, message: str, at: str = "", *, hint: str | None = None, kind: type[SampanError] = Invalid
    ) -> SampanError:
        """An error of ``kind`` that shows this line, with a caret under ``at`` (a part of its text) if it is there."""
        spot = self.spot(at)
        return kind(f"{self.filename}:{spot.number}: {redacted(message)}\n{spot.excerpt()}", hint=hint)

    @contextmanager
    def showing(self, at: str = "") -> Iterator[None]:
        """Adds this line to errors that leave a ``with`` block."""
        try:
            yield
        except SampanError as error:
            raise self.fault(error.message, at, hint=error.hint, kind=type(error)) from error


class Document(NamedTuple):
    """A Dockerfile's lines in order."""

    filename: str
    lines: tuple[Line, ...]
    escape: str
    directives: Mapping[str, Line]
    """By key: the line, whose text is the value alone."""


def parse(data: bytes, filename: str = "Dockerfile") -> Document:
    """The logical lines of a Dockerfile; there may be none. Raises Invalid."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"{filename} is larger than {MAX_BYTES >> 20} MiB")
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    # Only a line feed ends a line: splitlines() would also split at form feeds and others.
    physical = re.findall(r"[^\n]*\n|[^\n]+\Z", text)
    directives = _directives(physical, filename)
    escape = directives["escape"].text if "escape" in directives else "\\"
    lines = tuple(_logical(physical, filename, escape, len(directives)))
    return Document(filename, lines, escape, directives)


def heredoc(word: str) -> Heredoc | None:
    """The here-document that ``word`` announces (``<<EOF``, ``<<-'EOF'`` …), still without content. Raises Invalid."""
    match = _HEREDOC.fullmatch(word)
    if not match or not match[3]:
        return None
    plain = words.expand_words(match[3], {}, Rules(keep_unset=True))
    if len(plain) != 1:
        return None
    raw = words.expand_words(match[3], {}, Rules(keep_quotes=True, keep_unset=True))
    quotes = [sum(word.count(quote) for word in found for quote in "'\"") for found in (plain, raw)]
    return Heredoc(plain[0], "", quotes[0] == quotes[1], bool(match[2]))


def _directives(physical: list[str], filename: str) -> dict[str, Line]:
    """Parser directives: comments of the form ``# key=value`` before anything else in the file."""
    found: dict[str, Line] = {}
    for number, line in enumerate(physical, 1):
        match = _DIRECTIVE.fullmatch(line.strip())
        key = match[1].lower() if match else ""
        if not match or key not in ("syntax", "escape", "check"):
            break
        here = _single(filename, number, line)
        if key in found:
            raise here.fault(f"only one {key} parser directive can be used")
        if key == "escape" and match[2] not in ("\\", "`"):
            raise here.fault(f"invalid escape token {match[2]!r}", match[2], hint="it is either \\ or `")
        column = line.index(match[2])
        found[key] = here._replace(text=match[2], pieces=(Piece(0, number, column, line.rstrip("\r\n")),))
    return found


def _logical(physical: list[str], filename: str, escape: str, at: int) -> Iterator[Line]:
    continuation = re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*\Z")
    comments: list[str] = []
    while at < len(physical):
        text, pieces, blank, after = _joined(physical, at, continuation)
        if not text.strip():
            said = physical[at].strip().removeprefix("#").strip()
            comments = [*comments, said] if said and not pieces else []
            at = after
            continue
        line = Line(filename, pieces[0].number, text, tuple(pieces), comments=tuple(comments), blank=blank)
        _check(line)
        at, comments = after, []
        if "<<" in text and (announced := _announced(line, escape)):
            contents, at = _contents(line, announced, physical, at)
            line = line._replace(heredocs=contents)
        yield line


def _joined(physical: list[str], at: int, continuation: re.Pattern[str]) -> tuple[str, list[Piece], int, int]:
    """The logical line at index ``at``: its text, its pieces, the first blank line inside, and the next one's index.

    The text is empty for a blank line or a comment.
    """
    text, pieces, blank = "", list[Piece](), 0
    while at < len(physical):
        source = physical[at].rstrip("\r\n")
        at += 1
        bare = source.lstrip()
        if not bare or bare.startswith("#"):
            if not pieces:
                break
            blank = blank or (0 if bare else at)
            continue
        part = source if pieces else bare
        ended = continuation.search(part)
        pieces.append(Piece(len(text), at, len(source) - len(part), source))
        text += part[: ended.start()] if ended else part
        if not ended:
            break
    return text, pieces, blank, at


def _announced(line: Line, escape: str) -> list[Heredoc]:
    """The here-documents whose contents follow ``line``."""
    keyword, _, rest = words.split_statement(line.text, escape)
    if keyword.upper() == "ONBUILD":
        keyword, _, rest = words.split_statement(rest, escape)
    if keyword.upper() not in _TAKES_HEREDOCS or is_exec_form(rest):
        return []
    try:
        # Whatever the escape directive says: a here-document's word is the shell's.
        return [found for word in words.expand_words(line.text, {}, _AS_WRITTEN) if (found := heredoc(word))]
    except Invalid:
        return []  # not for us to understand: an unbalanced quote may be fine in what follows


def is_exec_form(text: str) -> bool:
    """Whether the arguments of an instruction are a JSON array."""
    if not text.lstrip().startswith("["):
        return False
    try:
        plainjson.loads(text, constants=False)
    except (ValueError, RecursionError):
        return False
    return True


def _contents(line: Line, announced: list[Heredoc], physical: list[str], at: int) -> tuple[tuple[Heredoc, ...], int]:
    filled = []
    for wanted in announced:
        start = at
        while at < len(physical):
            source = physical[at].rstrip("\r\n")
            if (source.lstrip("\t") if wanted.strips_tabs else source) == wanted.name:
                break
            at += 1
        else:
            raise line.fault("unterminated heredoc", "<<", hint=f"end it with a line that is {wanted.name!r} alone")
        filled.append(wanted._replace(content="".join(physical[start:at])))
        at += 1
    return tuple(filled), at


def _check(line: Line) -> None:
    if "\0" in line.text:
        raise line.fault("the line holds a NUL byte", hint="save the file as UTF-8 text")
    if not line.text.isprintable() and any("\ud800" <= character <= "\udfff" for character in line.text):
        raise line.fault("the line is not UTF-8 text", hint="save the file as UTF-8 text")


def _single(filename: str, number: int, source: str) -> Line:
    source = source.rstrip("\r\n")
    return Line(filename, number, source, (Piece(0, number, 0, source),))


def _find(text: str, at: str) -> int:
    """Where ``at`` begins in ``text``, as a whole word if it can be; -1 if it is not there."""
    match = re.search(rf"(?<!\S){re.escape(at)}(?!\S)", text) if at else None
    return match.start() if match else text.find(at) if at else -1


def _excerpt(number: int, source: str, begin: int, end: int) -> str:
    """The source line with a caret under a part of it, cut to what a terminal shows, and harmless to it."""
    cut = max(0, min(begin - 20, len(source) - _MAX_SHOWN)) if len(source) > _MAX_SHOWN else 0
    visible = "".join(" " if c == "\t" else c if c.isprintable() else "�" for c in source)[cut : cut + _MAX_SHOWN]
    begin, end = begin - cut, min(end - cut, len(visible))
    margin = f"{number:5} | "
    indent, length = _columns(visible[:begin]), _columns(visible[begin:end])
    return f"{margin}{visible}\n{' ' * (len(margin) - 2)}| {' ' * indent}{'^' * max(1, length)}"


def _columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
