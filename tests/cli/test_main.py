"""The program as it is typed: what it says, on which stream, and with which exit code."""

import errno
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan import __version__
from sampan.cli import commands, failures, main
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag
from sampan.errors import CommandMissing, Conflict, NotExecutable, SampanError, Unavailable


def sampan(*words: str, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sampan", "--root", str(root / "root"), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("words", [["--version"], ["-v"], ["--version", "ps"], ["--debug", "-v"]])
def test_version(tmp_path: Path, words: list[str]) -> None:
    run = sampan(*words, root=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"sampan version {__version__}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_help(tmp_path: Path, words: list[str]) -> None:
    run = sampan(*words, root=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("Usage:  sampan [OPTIONS] COMMAND\n")
    assert all(f"\n  {verb} " in run.stdout for verb in commands.COMMANDS if " " not in verb)


@pytest.mark.parametrize(
    "words",
    [
        ["images", "--help"],
        ["help", "images"],
        ["--help", "images"],
        ["images", "-h"],
        ["image", "ls", "--help", "x", "y"],
    ],
)
def test_help_of_a_verb(tmp_path: Path, words: list[str]) -> None:
    run = sampan(*words, root=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("Usage:  sampan images [OPTIONS] [REPOSITORY[:TAG]]\n\nList images\n")


@pytest.mark.parametrize("words", [["image"], ["image", "--help"], ["help", "image"]])
def test_help_of_a_group(tmp_path: Path, words: list[str]) -> None:
    run = sampan(*words, root=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "\n  ls        List images\n" in run.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["imagse"], 1, "sampan: unknown command: sampan imagse\nhint: did you mean sampan image"),
        (["bulid", "."], 1, "sampan: unknown command: sampan bulid\nhint: did you mean sampan build?\n"),
        (["qqqq"], 1, "sampan: unknown command: sampan qqqq\n\nRun 'sampan --help' for more information\n"),
        (["image", "lsx"], 1, "sampan: unknown command: sampan image lsx\nhint: did you mean sampan image ls?\n"),
        (["events", "x"], 1, "sampan: sampan events is not built yet\n"),
        (["--bogus", "ps"], 125, "sampan: unknown flag: --bogus\n\nRun 'sampan --help' for more information\n"),
        (["--debgu", "ps"], 125, "sampan: unknown flag: --debgu\nhint: did you mean --debug?\n"),
        (
            ["images", "--quite"],
            125,
            (
                "sampan: unknown flag: --quite\nhint: did you mean --quiet?\n\n"
                "Usage:  sampan images [OPTIONS] [REPOSITORY[:TAG]]\n\n"
                "Run 'sampan images --help' for more information\n"
            ),
        ),
        (["images", "a", "b"], 1, "sampan: 'sampan images' requires at most 1 argument\n\nUsage:  sampan images "),
        (["tag", "a"], 1, "sampan: 'sampan tag' requires 2 arguments\n\nUsage:  sampan tag SOURCE_IMAGE[:TAG] "),
        (["version", "x"], 1, "sampan: 'sampan version' accepts no arguments\n\n"),
        (["run"], 1, "sampan: 'sampan run' requires at least 1 argument\n\nUsage:  sampan run [OPTIONS] IMAGE "),
        (["run", "--link", "a", "x"], 125, "sampan: --link: links are deprecated"),
        (["rmi", "--no-prune", "x"], 1, "sampan: --no-prune is not built yet\n"),
        (["history", "nosuch"], 1, "sampan: no such image: nosuch:latest\nhint: sampan pull nosuch"),
        (["run", "--pull=never", "nosuch"], 125, "sampan: no such image: nosuch:latest\nhint: "),
        (["images", "--format", "{{.ID}}", "x"], 0, ""),
        (
            ["version", "--format", "{{.Sever}}"],
            1,
            "sampan: invalid template: there is no field .Sever\nhint: did you mean",
        ),
    ],
)
def test_what_goes_wrong_is_said_once(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    run = sampan(*words, root=tmp_path)
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.startswith(said)
    assert "Traceback" not in run.stderr


def test_global_flags_before_and_after_the_verb(tmp_path: Path) -> None:
    before = sampan("info", root=tmp_path).stdout
    assert f"Root Dir: {tmp_path}/root\n" in before
    after = sampan("info", f"--root={tmp_path}/other", "--debug", root=tmp_path).stdout
    assert f"Root Dir: {tmp_path}/other\n" in after


def test_debug_shows_where(tmp_path: Path) -> None:
    run = sampan("--debug", "history", "nosuch", root=tmp_path)
    assert "Traceback" in run.stderr
    assert "sampan: no such image: nosuch:latest\n" in run.stderr


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    run = sampan("images", root=tmp_path)
    assert run.returncode == 1
    assert re.fullmatch(r"sampan: [^\n]*(exists|directory|opened)[^\n]*\n(hint: [^\n]*\n)?", run.stderr)


def test_a_damaged_database(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "sampan.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    run = sampan("images", root=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("sampan: the store's database is damaged")
    assert run.stderr.count("\n") == 2


def test_output_that_has_no_room_is_noticed(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "sampan", "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert run.returncode == 1
    assert run.stderr == "sampan: cannot write to standard output: no space left on device\n"
    assert "Traceback" not in run.stderr


def test_a_reader_that_has_gone_is_no_reason_for_words() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [sys.executable, "-m", "sampan", "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (run.returncode, run.stderr) == (141, "")


@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [
        (">&-", 1, "sampan: cannot write to standard output: it is closed\n"),
        ("2>&-", 0, ""),
        ("<&- 2>&-", 0, ""),
        ("<&- >&- 2>&-", 1, ""),
    ],
)
def test_closed_streams(tmp_path: Path, closed: str, code: int, said: str) -> None:
    script = f'exec "$0" -c "from sampan.cli.main import run; run()" --root "$1" images {closed}'
    run = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, str(tmp_path / "root")], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (code, said)
    assert (tmp_path / "root" / "sampan.db").read_bytes().startswith(b"SQLite format 3")


def test_nobody_hears_the_error(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run([sys.executable, "-m", "sampan", "nosuch"], stderr=full, cwd=tmp_path, check=False)
    assert run.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_terminal_cannot_show(tmp_path: Path, encoding: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sampan", "--root", f"{tmp_path}/舢板", "info"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert run.returncode == 0, run.stderr
    shown = "舢板".encode() if encoding == "utf-8" else rb"\u8222\u677f"
    assert b"/" + shown + b"\n" in run.stdout


def test_errors_about_names_in_every_script(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sampan", "--root", str(tmp_path / "root"), "history", b"na\xff\xc3\xafve"],
        capture_output=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith(b"sampan: invalid reference ")
    assert b"Traceback" not in run.stderr


def test_no_colours_where_nobody_asked_for_them(tmp_path: Path) -> None:
    for words in (["--help"], ["images"], ["nosuch"], ["images", "--help"]):
        run = sampan(*words, root=tmp_path, NO_COLOR="1", FORCE_COLOR="1", CLICOLOR_FORCE="1")
        assert "\x1b" not in run.stdout + run.stderr


# Verbs that fail, one by one: the table gets a verb of our own, and main() runs in this process.

VERB = Command("[OPTIONS]", (Flag("-q, --quiet", ""),), most=None, error_exit=125)
Perform = Callable[[Callable[[Context], int], list[str]], int]


@pytest.fixture
def perform(monkeypatch: pytest.MonkeyPatch) -> Perform:
    def run(action: Callable[[Context], int], words: list[str]) -> int:
        monkeypatch.setitem(commands.COMMANDS, "verb", ("", "A verb"))
        monkeypatch.setattr(main, "load", lambda verb: (VERB, lambda arguments, context: action(context)))
        return main.main(["verb", *words])

    return run


def failing(error: BaseException) -> Callable[[Context], int]:
    def fail(context: Context) -> int:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SampanError("it went wrong", hint="try again"), 125, "sampan: it went wrong\nhint: try again\n"),
        (Conflict("it is in use"), 125, "sampan: it is in use\n"),
        (CommandMissing("no such command"), 127, "sampan: no such command\n"),
        (NotExecutable("not executable"), 126, "sampan: not executable\n"),
        (Unavailable("a server said \x1b[31mno\x07"), 125, "sampan: a server said \ufffd[31mno\ufffd\n"),
        (KeyboardInterrupt(), 130, "sampan: interrupted\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (OSError(errno.ENOSPC, "No space", "/x/y"), 125, "sampan: the disk is full: /x/y\nhint: sampan rmi "),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 125, "sampan: permission denied: /x\n"),
        (OSError(errno.EROFS, "Read-only"), 125, "sampan: the file system is read-only\nhint: --root DIR"),
        (OSError(errno.ELOOP, "Too many levels", "/a", None, "/b"), 125, "sampan: too many levels: /a and /b\n"),
        (sqlite3.OperationalError("database or disk is full"), 125, "sampan: the disk is full\n"),
        (
            sqlite3.OperationalError("attempt to write a readonly database"),
            125,
            "sampan: the store cannot be written\n",
        ),
        (sqlite3.OperationalError("unable to open database file"), 125, "sampan: the store cannot be opened\n"),
        (sqlite3.OperationalError("database is locked"), 125, "sampan: another sampan holds the store\n"),
        (sqlite3.DatabaseError("database disk image is malformed"), 125, "sampan: the store's database is damaged"),
        (MemoryError(), 125, "sampan: out of memory\n"),
        (
            ZeroDivisionError("division by zero"),
            125,
            "sampan: internal error: ZeroDivisionError: division by",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_failure_is_one_sentence(
    perform: Perform, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    assert perform(failing(error), []) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") <= 2
    assert "Traceback" not in err


def test_a_verb_that_exits_by_itself(perform: Perform) -> None:
    with pytest.raises(SystemExit):
        perform(failing(SystemExit(3)), [])


def test_quiet_drops_what_is_for_people(perform: Perform, capsys: pytest.CaptureFixture[str]) -> None:
    def talk(context: Context) -> int:
        context.say("for people")
        context.print("result")
        context.warn("careful")
        return 7

    assert perform(talk, []) == 7
    assert capsys.readouterr() == ("for people\nresult\n", "WARNING: careful\n")
    assert perform(talk, ["-q"]) == 7
    assert capsys.readouterr() == ("result\n", "WARNING: careful\n")


def test_each_goes_on_and_gives_the_worst_code(capsys: pytest.CaptureFixture[str]) -> None:
    def act(name: str) -> None:
        if name.startswith("bad"):
            raise Conflict(f"{name} is in use")
        print(name)

    assert Context().each(["a", "bad1", "b", "bad2"], act) == 1
    assert capsys.readouterr() == ("a\nb\n", "sampan: bad1 is in use\nsampan: bad2 is in use\n")
    assert Context().each(["a"], act) == 0


def test_every_alias_leads_to_a_verb() -> None:
    for alias, target in commands.ALIASES.items():
        assert target[0] in commands.COMMANDS or target[0] in commands.GROUPS
        assert alias.split()[0] in commands.GROUPS
        assert main.resolve([*alias.split(), "x", "-y"]) == (target[0], [*target[1:], "x", "-y"])
    assert not set(commands.LATER.split()) & set(commands.COMMANDS)


def test_interrupted_while_it_works(tmp_path: Path) -> None:
    script = "import os, signal, sys, sampan.cli.output; from sampan.cli import main\n"
    script += "sampan.cli.output.table = lambda *rest: os.kill(os.getpid(), signal.SIGINT)\n"
    script += "sys.exit(main.main(['--root', sys.argv[1], 'images']))"
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "root")], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (128 + signal.SIGINT, "", "sampan: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_interrupt_the_clearing_up(tmp_path: Path, number: signal.Signals) -> None:
    script = """
import os, sys, sampan.cli.output
from sampan.cli import main
number = int(sys.argv.pop(1))
def work(*rest):
    try:
        os.kill(os.getpid(), number)
    finally:
        os.kill(os.getpid(), 2)
        sys.stdout.write("cleared up\\n")
sampan.cli.output.table = work
main.run()
"""
    words = [str(number.value), "--root", str(tmp_path / "root"), "images"]
    run = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (128 + number, "cleared up\n", "sampan: interrupted\n")


def test_the_third_signal_ends_at_once() -> None:
    script = """
import os
from sampan.cli import main
main._interrupt_once()
for _ in range(3):
    try:
        os.kill(os.getpid(), 15)
    except KeyboardInterrupt:
        pass
"""
    run = subprocess.run([sys.executable, "-c", script], check=False)
    assert run.returncode == -signal.SIGTERM


def test_failures_have_the_codes_of_the_shell() -> None:
    assert failures.INTERRUPTED == 128 + signal.SIGINT
    assert failures.PIPE_CLOSED == 128 + signal.SIGPIPE
