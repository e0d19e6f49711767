"""Why a step is performed: every input that is part of its key is named when it changes, and nothing else."""

import re
from pathlib import Path

import pytest

from builders import Builder, as_system
from sampan.build.graph import MakeDirectory, Scratch
from sampan.build.reasons import NO_SUCH_STEP, PARENT, Reasons, differences
from sampan.store import database


def test_differences() -> None:
    old = {
        PARENT: "1",
        "the argument A": "1",
        "file a": "644 1",
        "file b": "644 1",
        "file c": "644 1",
        "file e": "644 1",
    }
    new = {
        PARENT: "2",
        "the variable B": "1",
        "file a": "600 1",
        "file b": "644 2",
        "file d": "644 1",
        "file e": "644 1",
    }
    assert differences(old, new) == (
        "what it builds on changed; the variable B is new; the argument A is gone; changed: b; "
        "a has mode 600 and had 644; added: d; removed: c"
    )
    assert differences(old, old) == ""
    many = {f"file {number:03}": "644 1" for number in range(500)}
    assert differences(old, old | many).endswith("009 and 490 more")


def test_what_was_pruned_meanwhile_is_not_known(tmp_path: Path) -> None:
    db, step = database.connect(str(tmp_path / "db")), MakeDirectory(Scratch(), "/d")
    first = Reasons(db, "project", [step])
    first.note(step, "key", lambda: {PARENT: "1"}, performed=True)
    first.save()
    second = Reasons(db, "project", [step])
    assert second.explain(step, {PARENT: "2"}) == "what it builds on changed"
    db.execute("DELETE FROM build_step")
    assert second.explain(step, {PARENT: "2"}) == NO_SUCH_STEP


class Asking:
    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def __call__(self, lines: str, *options: str, step: str = "all") -> str:
        return self._builder.build(lines, "--why", step, *options).stdout


def last(said: str) -> str:
    """What is said of the last step that was asked about."""
    return said.strip().splitlines()[-2].strip()


@as_system
def test_it_says_when_all_is_cached_and_builds_nothing(builder: Builder) -> None:
    why = Asking(builder)
    said = why("RUN echo 1")
    assert last(said) == "to be performed: it was not in the last build of this directory"
    assert said.endswith("4 of 5 steps are to be performed\n")
    assert builder.sampan("images", "-q").stdout == ""
    builder.build("RUN echo 1")
    said = why("RUN echo 1")
    assert said.endswith("all steps are cached\n")
    assert re.fullmatch(
        r"cached; performed [a-z0-9 ]+ ago: it was not in the last build of this directory", last(said)
    ), said


@as_system
@pytest.mark.parametrize(
    ("before", "after", "options", "reason"),
    [
        ("RUN echo 1", "RUN echo 2", (), "the command changed"),
        ("ARG A=1\nRUN true", "ARG A=2\nRUN true", (), "the argument A changed"),
        ("ARG A=1\nRUN true", "ARG A=1\nRUN true", ("--build-arg", "A=x"), "the argument A changed"),
        ("ENV A=1\nRUN true", "ENV A=2 B=1\nRUN true", (), "the variable A changed; the variable B is new"),
        ("RUN true", "USER app\nRUN true", (), "USER changed"),
        ("RUN true", "RUN true", ("--network", "none"), "build --network changed"),
        ("RUN true", "RUN true", ("--add-host", "a:127.0.0.1"), "build --add-host changed"),
        ("RUN --mount=source=etc,target=/m true", "RUN --mount=source=busybox,target=/m true", (), "the mount at /m"),
        ("COPY etc /e", "COPY etc /f", (), "the destination changed"),
        ("COPY etc /e", "COPY --chmod=700 etc /e", (), "--chmod changed"),
        ("COPY <<f /\n1\nf\n", "COPY <<f /\n2\nf\n", (), "the here-document f changed"),
        ("WORKDIR /a", "WORKDIR /b", (), "the path changed"),
    ],
)  # fmt: skip
def test_each_input_is_named(builder: Builder, before: str, after: str, options: tuple[str, ...], reason: str) -> None:
    builder.build(before)
    said = last(Asking(builder)(after, *options))
    assert said.startswith("to be performed: ")
    assert reason in said
    builder.build(after, *options)
    assert reason in last(Asking(builder)(after, *options))  # it is told of the past


@as_system
def test_files_are_named_and_times_do_not_count(builder: Builder) -> None:
    source = builder.context / "src"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    lines = "FROM base AS one\nCOPY src /src\nFROM base\nRUN true\nCOPY --from=one /src/a /\n"
    builder.build(lines)
    (source / "a").touch()
    assert Asking(builder)(lines).endswith("all steps are cached\n")
    (source / "b").write_text("B")
    (source / "c").unlink()
    (source / "d").write_text("d")
    said = Asking(builder)(lines)
    assert "to be performed: changed: src/b; added: src/d; removed: src/c\n" in said
    assert last(said) == "to be performed: a step that it needs is to be performed"
    builder.build(lines)  # performs COPY src alone: what comes of it is the same where it matters
    (source / "a").write_text("A")
    builder.build(lines)
    assert "ago: changed: src/a\n" in Asking(builder)(lines, step="COPY --from=one")


@as_system
def test_a_secret_is_nowhere(builder: Builder) -> None:
    canary = "c4nary-of-the-secret"
    (builder.context / "s").write_text(canary)
    secret = f"id=s,src={builder.context}/s"
    builder.build(
        "ARG A\nRUN --mount=type=secret,id=s test -s /run/secrets/s", "--secret", secret, "--build-arg", f"A={canary}"
    )
    from sampan.engine import open_engine

    with open_engine(str(builder.sampan.root)) as engine:
        rows = engine.database.execute("SELECT * FROM build_step").fetchall()
    assert rows
    assert canary not in repr(rows)


@as_system
def test_misuse(builder: Builder) -> None:
    builder.build("RUN true")
    assert "there is no step nowhere" in builder.build("RUN true", "--why", "nowhere", check=False).stderr
    assert "leave out one" in builder.build("RUN true", "--why", "all", "--no-cache", check=False).stderr
    said = builder.sampan("build", "--why", builder.context, check=False).stderr
    assert f"--why takes a step: write --why all {builder.context}" in said
