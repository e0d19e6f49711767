"""The parser against the test files of Docker's own, as Debian packages them with imagebuilder."""

import ast
import re
from pathlib import Path

import pytest

from sampan.build.dockerfile import instructions, lines, parsers, stages, words
from sampan.build.dockerfile.instructions import From, Instruction
from sampan.errors import Invalid

SOURCE = Path("/usr/share/gocode/src/github.com/openshift/imagebuilder")
FOLDERS = sorted(path.parent for path in SOURCE.glob("dockerfile/parser/testfiles/*/result"))
REFUSED = {  # what their parser lets pass and their builder refuses
    "flags": {"COPY", "CMD"},
    "health": {"HEALTHCHECK"},
    "json": {"CMD"},  # a NUL character, which no command can be given
}

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not FOLDERS, reason="Debian's golang-github-openshift-imagebuilder-dev is not installed"),
]


def flat(found: From | Instruction) -> list[str]:
    """The arguments of an instruction in the order in which they were written."""
    match found:
        case instructions.Env() | instructions.Label():
            return [text for pair in found.pairs for text in pair]
        case instructions.Transfer():
            return [*found.sources, found.dest]
        case instructions.Run() | instructions.Cmd() | instructions.Entrypoint():
            return list(found.command.words)
        case instructions.Healthcheck():
            return ["CMD", *found.test[1:]] if found.test[0] != "NONE" else ["NONE"]
        case instructions.From():
            return [found.image, "AS", found.name] if found.name else [found.image]
        case instructions.Expose():
            return list(found.ports)
        case instructions.OnBuild():
            return []
        case instructions.Volume():
            return list(found.paths)
        case _:
            return [str(found[1])]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_parser_files(folder: Path) -> None:
    refused = REFUSED.get(folder.name, set())
    data = (folder / "Dockerfile").read_bytes()
    if data.startswith(b"# escape = ``\n"):
        data = data.replace(b"``", b"`", 1)  # their parser took the first of several, newer ones refuse it
    document = lines.parse(data)
    results = (folder / "result").read_text().splitlines()
    assert len(document.lines) == len(results)
    for line, result in zip(document.lines, results, strict=True):
        keyword, flags, _ = words.split_statement(line.text, document.escape)
        match = re.match(r"\((\w+) ?(\[.*?\])?", result)
        assert match
        assert keyword.lower() == match[1]
        assert list(flags) == re.findall(r'"(.*?)"', match[2] or "")
        try:
            found = parsers.parse(line, document.escape)
        except Invalid:
            assert keyword in refused
            continue
        expected = [ast.literal_eval(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', result[match.end() :])]
        if isinstance(found, instructions.OnBuild):
            inner = parsers.parse(line._replace(text=found.trigger), document.escape)
            assert f"(onbuild ({inner.line.text.split()[0].lower()} " in result
            assert flat(inner) == expected
        else:
            assert flat(found) == (sorted(expected) if isinstance(found, instructions.Expose) else expected)


@pytest.mark.parametrize(
    "folder", sorted(SOURCE.glob("dockerfile/parser/testfiles-negative/*")), ids=lambda path: path.name
)
def test_negative_files(folder: Path) -> None:
    with pytest.raises(Invalid):
        stages.parse((folder / "Dockerfile").read_bytes())
