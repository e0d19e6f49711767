"""COPY's flags in whole builds."""

import json
from pathlib import Path

import pytest

import commands
import trees
from builders import Builder, as_system
from trees import Directory, File, Link


@pytest.fixture
def builder(sampan: commands.Sampan, tmp_path: Path) -> Builder:
    made = Builder(sampan, tmp_path)
    trees.make(
        tmp_path, {"src/a.py": "a", "src/b.txt": "b", "src/sub/c.txt": "c", "src/sub/run": File("r", 0o744), "d": "d"}
    )
    return made


def build(builder: Builder, lines: str, *options: str) -> dict[str, trees.Node]:
    builder.build(lines, *options, base="FROM scratch\n")
    return trees.describe(builder.layer())


@as_system
def test_symbolic_modes(builder: Builder) -> None:
    assert build(builder, "ARG m=go=\nCOPY --chmod=u=rwX,$m src /x/") == {
        "x": Directory(0o700), "x/a.py": File("a", 0o600), "x/b.txt": File("b", 0o600), "x/sub": Directory(0o700),
        "x/sub/c.txt": File("c", 0o600), "x/sub/run": File("r", 0o700),
    }  # fmt: skip
    assert build(builder, "COPY --chmod=+x <<EOF /f\nx\nEOF\n") == {"f": File("x\n", 0o755)}


@as_system
def test_exclude(builder: Builder) -> None:
    assert list(build(builder, "COPY --exclude=*.txt src /")) == ["a.py", "sub", "sub/c.txt", "sub/run"]
    lines = "ARG p=txt\nCOPY --exclude=**/*.$p --exclude=!sub/c.txt src d /"
    assert list(build(builder, lines)) == ["a.py", "d", "sub", "sub/c.txt", "sub/run"]
    assert list(build(builder, "ADD --exclude=*.txt src/* /")) == ["a.py", "run"]
    # A change of what is excluded changes nothing.
    (builder.context / "src/b.txt").write_text("changed")
    assert "DONE" not in builder.build(lines, base="FROM scratch\n").stderr
    (builder.context / "src/a.py").write_text("changed")
    assert "DONE" in builder.build(lines, base="FROM scratch\n").stderr
    staged = "COPY src /s\nFROM scratch\nCOPY --from=0 --exclude=sub /s /"
    assert list(build(builder, staged)) == ["a.py", "b.txt"]
    assert list(build(builder, staged.replace("sub", "*.txt"))) == ["a.py", "sub", "sub/c.txt", "sub/run"]


@as_system
def test_parents(builder: Builder) -> None:
    (builder.context / "src/sub").chmod(0o750)
    assert build(builder, "COPY --parents src/sub/c.txt d /x") == {
        "x": Directory(), "x/d": File("d"), "x/src": Directory(), "x/src/sub": Directory(0o750),
        "x/src/sub/c.txt": File("c"),
    }  # fmt: skip
    assert list(build(builder, "COPY --parents ./src/./sub/*.txt /")) == ["sub", "sub/c.txt"]
    assert list(build(builder, "COPY --parents **/*.txt /")) == ["src", "src/b.txt", "src/sub", "src/sub/c.txt"]
    assert list(build(builder, "COPY --parents --exclude=src/sub **/*.txt /")) == ["src", "src/b.txt"]
    assert list(build(builder, "COPY --parents sr*/./sub/*.txt [d-z]*/./**/nothing x*/./y /")) == ["sub", "sub/c.txt"]
    assert list(build(builder, "COPY src /s/t/\nFROM scratch\nCOPY --parents --from=0 /s/./t/a.py /")) == [
        "t",
        "t/a.py",
    ]
    for missing in ("src/nothing", "d/./nothing"):
        done = builder.build(f"COPY --parents {missing} /", base="FROM scratch\n", check=False)
        assert done.returncode == 1
        assert f"{missing.replace('./', '')} is not in the build context" in done.stderr


@as_system
def test_a_linked_copy_depends_on_nothing_below(builder: Builder) -> None:
    """A link in the image is not followed, and directories of the image leave no mark."""
    trees.make(
        builder.context / "base", {"real": Directory(0o700), "link": Link("real"), "etc/passwd": "u:x:5:6::/:\n"}
    )
    below = "COPY base /\n"
    assert build(builder, below + "COPY d /link/d") == {"real": Directory(0o700), "real/d": File("d")}
    linked = "COPY --link --chown=u d /link/d"
    expected = {"link": Directory(0o755, (5, 6)), "link/d": File("d", owner=(5, 6))}
    assert build(builder, below + linked) == expected
    (builder.context / "base/more").touch()
    options = ("--build-arg", "SOURCE_DATE_EPOCH=1600000000")
    build(builder, below + linked, *options)
    first = json.loads(builder.sampan("inspect", "built").stdout)[0]["RootFS"]["Layers"]
    (builder.context / "base/more").write_text("other")
    build(builder, below + linked, *options)
    second = json.loads(builder.sampan("inspect", "built").stdout)[0]["RootFS"]["Layers"]
    assert first[0] != second[0]
    assert first[1] == second[1]
