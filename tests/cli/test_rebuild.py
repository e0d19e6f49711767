"""A build asked for again: told from memory while nothing has changed, and only then."""

import json
import os
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.cli import build
from sampan.cli.main import main
from sampan.engine import Engine, open_engine

pytestmark = pytest.mark.root

_DOCKERFILE = "FROM scratch AS base\nCOPY base /\nFROM base\nCOPY src /src/\nENV A=1\n"


class Project:
    """A context and a store, and how many builds went the whole way."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
        self.context, self.root = directory / "context", directory / "root"
        self._output = output
        self.whole = 0
        files = {
            "Dockerfile": _DOCKERFILE,
            ".dockerignore": "**/*.log\nnotes\n!notes/kept\n",
            "base": "1",
            "src/a": "a",
            "src/deep/b": "b",
            "src/x.log": "",
            "other/file": "",
            "notes/kept": "",
            "notes/left": "",
        }
        for name, text in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.context / "src/link").symlink_to("a")
        performed = build._build

        def counted(*arguments: object) -> str:
            self.whole += 1
            return performed(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(build, "_build", counted)

    def build(self, *options: str, settled: bool = True) -> str:
        """Builds once all changes are so old that their times tell them from others; gives the image's id."""
        while settled and time.time_ns() - self._youngest() < 200_000_000:
            time.sleep(0.02)
        assert main(["--root", str(self.root), "build", "-q", "-t", "x", *options, str(self.context)]) == 0
        return self._output.readouterr().out.strip()

    def _youngest(self) -> int:
        return max(path.lstat().st_ctime_ns for path in (self.context, *self.context.rglob("*")))

    def engine(self) -> Engine:
        return open_engine(str(self.root))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, monkeypatch, capsys)


def test_the_same_again_is_told_from_memory(project: Project) -> None:
    first = project.build()
    assert (project.build(), project.whole) == (first, 1)
    with project.engine() as engine:
        engine.images.remove(engine.images.find("x").id)
        engine.collect()
    assert project.build() != ""
    assert project.whole == 2


_CHANGES: dict[str, Callable[[Path], object]] = {
    "a file": lambda context: (context / "src/a").write_text("A"),
    "a deep file": lambda context: (context / "src/deep/b").write_text("B"),
    "a new file": lambda context: (context / "src/deep/c").write_text("c"),
    "a file gone": lambda context: (context / "src/deep/b").unlink(),
    "a file renamed": lambda context: (context / "src/a").rename(context / "src/aa"),
    "a mode": lambda context: (context / "src/a").chmod(0o600),
    "a directory's mode": lambda context: (context / "src/deep").chmod(0o700),
    "a link": lambda context: ((context / "src/link").unlink(), (context / "src/link").symlink_to("b")),
    "the Dockerfile": lambda context: (context / "Dockerfile").write_text(_DOCKERFILE + "ENV B=1\n"),
    ".dockerignore": lambda context: (context / ".dockerignore").write_text("src/a\n"),
    "its own .dockerignore": lambda context: (context / "Dockerfile.dockerignore").write_text("src/a\n"),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_what_changed_is_seen(project: Project, change: str) -> None:
    first = project.build()
    _CHANGES[change](project.context)
    second = project.build()
    assert second != first
    assert project.build() == second
    assert project.whole == 2


def test_a_change_that_leaves_size_and_modification_time_is_seen(project: Project) -> None:
    first, file = project.build(), project.context / "src/a"
    status = file.stat()
    file.write_text("b")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert project.build() != first


def test_what_changed_a_moment_ago_is_not_trusted(project: Project) -> None:
    project.build()
    file = project.context / "src/a"
    for number in range(5):
        os.truncate(file, 0)
        file.write_text(str(number))
        project.build(settled=False)
    assert project.whole == 6
    assert project.build() == project.build(), "and is no harm"


def test_what_is_excluded_or_not_copied_does_not_count(project: Project) -> None:
    first = project.build()
    (project.context / "src/x.log").write_text("more")
    (project.context / "other/file").write_text("more")
    (project.context / "notes/left").write_text("more")
    assert (project.build(), project.whole) == (first, 1)
    (project.context / "notes/new").write_text("")
    assert project.build() == first


@pytest.mark.parametrize(
    "options", [["--label", "a=b"], ["--build-arg", "A=2"], ["--target", "base"], ["--no-cache"], ["-t", "y"]]
)
def test_other_words_are_another_build(project: Project, options: list[str]) -> None:
    project.build()
    project.build(*options)
    assert project.whole == 2


def test_a_variable_of_the_environment_is_a_word(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.context / "Dockerfile").write_text("FROM scratch\nARG A\nLABEL a=$A\nCOPY src /\n")
    monkeypatch.setenv("A", "1")
    first = project.build("--build-arg", "A")
    monkeypatch.setenv("A", "2")
    assert project.build("--build-arg", "A") != first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    project.build("--build-arg", "A")
    assert project.whole == 3


def test_a_base_that_changed_is_seen(project: Project) -> None:
    project.build("-t", "base")
    (project.context / "Dockerfile").write_text("FROM base\nCOPY src /\n")
    first = project.build()
    assert (project.build(), project.whole) == (first, 2)
    (project.context / "Other").write_text("FROM scratch\nCOPY other /\n")
    project.build("-t", "base", "-f", str(project.context / "Other"))
    assert project.build() != first


def test_a_name_that_was_given_away_is_given_again(project: Project) -> None:
    first = project.build()
    project.build("--target", "base")
    assert project.build() == first
    with project.engine() as engine:
        assert engine.images.find("x").id == first


def test_what_the_cache_lost_is_built(project: Project) -> None:
    project.build()
    with project.engine() as engine:
        engine.database.execute("DELETE FROM build_cache")
    project.build()
    assert project.whole == 2


def test_a_warning_is_given_each_time(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        project.build("--build-arg", "UNKNOWN=1")
    assert project.whole == 2


def test_steps_are_shown_as_those_of_any_cached_build(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def shown() -> str:
        words = ["--root", str(project.root), "build", "--progress", "plain", "-t", "x", str(project.context)]
        assert main(words) == 0
        return capsys.readouterr().err

    project.build()
    told = shown()
    with project.engine() as engine:
        engine.database.execute("DELETE FROM build_repeat")
    assert told == shown()
    assert project.whole == 2
    assert told.count("CACHED") == 3


def test_warnings_are_for_the_programs_that_read_the_steps(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project.context / "Dockerfile").open("a") as file:
        file.write("ENV X=$NOT_SET\n")
    for _ in range(2):
        words = ["--root", str(project.root), "build", "--rm", "--force-rm", str(project.context)]
        assert main([*words, "--progress=rawjson"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        (warning,) = (line["warnings"][0]["short"] for line in lines if "warnings" in line)
        assert b64decode(warning).startswith(b"UndefinedVar: Usage of undefined variable '$NOT_SET'")
        assert main([*words, "--progress=quiet"]) == 0
        assert capsys.readouterr().err == ""


def test_the_id_is_written_again(project: Project, tmp_path: Path) -> None:
    for _ in range(2):
        image = project.build("--iidfile", str(tmp_path / "id"))
        assert (tmp_path / "id").read_text() == image
        (tmp_path / "id").unlink()
    assert project.whole == 1


def test_a_file_that_is_none_is_read_each_time(project: Project) -> None:
    (project.context / "Dockerfile").rename(project.context / "real")
    (project.context / "Dockerfile").symlink_to("real")
    first = project.build()
    (project.context / "real").write_text(_DOCKERFILE + "ENV C=1\n")
    assert project.build() != first
