"""What looks like a credential in a Dockerfile, where whoever has the image can read it."""

from __future__ import annotations

import re

from sampan.build.dockerfile.instructions import Arg, Env, Instruction

_IN_TEXT = (
    re.compile(r"""[a-z][a-z0-9+.-]*://[^\s/@:'"]*:([^\s/@'"$]+)@""", re.IGNORECASE),
    re.compile(
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|pypi-[\w-]{50,}|xox[abprs]-[\w-]{10,}"
        r"|sk-[\w-]{32,}|hf_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,})\b"
    ),
    re.compile(r"""Authorization:\s*(?:Bearer|Basic|Token)\s+([^\s"'$<>]{8,})""", re.IGNORECASE),
    re.compile(r"""\bcurl\b[^|;&\n]*?\s(?:-u|--user)[ =]?["']?[^\s:"'$/]+:([^\s"'$]+)"""),
    re.compile(r"""\bmachine\s+\S+\s+login\s+\S+\s+password\s+([^\s"'$<>\\]+)"""),
    re.compile(r"""\bpoetry\s+config\s+http-basic\.\S+\s+\S+\s+([^\s"'$<>;&|]+)"""),
    re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
)
"""The first group is the credential, or else the whole."""
_SECRET_NAME = re.compile(
    r"(?:_|^)(?:password|pword|passwd|secret|token|api_?key|(?:access|secret|private)_key)$", re.IGNORECASE
)
_NO_SECRET = re.compile(
    r"""["']?(?:.{0,3}|true|false|none|null|[/.].*|.*[$<].*|dummy.*|placeholder.*|fake.*|unused|not-?used)["']?""",
    re.IGNORECASE | re.DOTALL,
)


def credentials(instruction: Instruction) -> list[str]:
    """What looks like a credential in an instruction: URLs with a password, known kinds of tokens, values of ENV and
    ARG that are called so."""
    line = instruction.line
    text = "\n".join((line.text, *(document.content for document in line.heredocs)))
    found = [secret for pattern in _IN_TEXT for secret in pattern.findall(text)]
    pairs: list[tuple[str, str | None]] = []
    if isinstance(instruction, Env):
        pairs += instruction.pairs
    elif isinstance(instruction, Arg):
        pairs += instruction.definitions
    for name, value in pairs:
        if value and _SECRET_NAME.search(name) and not _NO_SECRET.fullmatch(value):
            found.append(value)
    return found
