"""``run -it`` and ``exec -it`` at a real terminal: sizes, keys, exit codes, and the terminal as it was before."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from commands import Sampan
from residents import IMAGE, PATIENCE, assert_clean, await_, command, processes, read_until, started, state

pytestmark = [pytest.mark.system]

RUN = ("run", "--rm", "--network", "none", "-it")
SHELL = (IMAGE, "sh", "-c", "echo up; exec sh -i")


class Terminal:
    """A pseudo-terminal of 24 rows and 80 columns, and the other end of its cable: what a person sees and types."""

    def __init__(self) -> None:
        self.person, self.screen = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.screen)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.person, text.encode())

    def see(self, wanted: str) -> str:
        return read_until(self.person, wanted)

    @property
    def is_restored(self) -> bool:
        return termios.tcgetattr(self.screen) == self.before

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.screen)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)

    def close(self) -> None:
        os.close(self.person)
        os.close(self.screen)


@pytest.fixture
def screen(anyone: Sampan) -> Iterator[Terminal]:
    terminal = Terminal()
    if anyone.account:  # as login gives it to who sits there
        os.chown(os.ttyname(terminal.screen), anyone.account.uid, anyone.account.gid)
    yield terminal
    terminal.close()


@contextmanager
def at(screen: Terminal, sampan: Sampan, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command with this terminal as its standard streams, in a session whose terminal it is."""
    take = ["setsid", "--ctty", "--wait"] if options.pop("controlling", False) else []
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), screen.screen)
    inner = sampan.command

    class Here(Sampan):
        def command(self, *words: Any) -> list[str]:
            return [*take, *inner(*words)]

    with started(Here(sampan.root, sampan.account), *arguments, **{**streams, **options}) as process:
        yield process


@pytest.fixture(params=["run", "exec"])
def verb(request: pytest.FixtureRequest, anyone: Sampan) -> tuple[str, ...]:
    """The beginning of a command line that starts a program in a new container, or in one that runs."""
    if request.param == "run":
        return (*RUN, IMAGE)
    anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    return ("exec", "-it", "hull")


def test_a_shell(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    with at(screen, anyone, *verb, "sh") as process:
        screen.see("# ")
        assert screen.is_raw
        screen.type("echo $((40+2)); tty; stty size; echo $TERM\r")
        seen = screen.see("xterm\r\n")
        assert "\r\n42\r\n/dev/pts/" in seen
        assert "24 80\r\n" in seen
        screen.type("exit 7\r")
        assert process.wait(PATIENCE) == 7
    assert screen.is_restored


def test_the_size_follows(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"
    with at(screen, anyone, *verb, "sh", "-c", script) as process:
        screen.see("up\r\n")
        screen.resize(33, 101)
        process.send_signal(signal.SIGWINCH)  # as the kernel does for the terminal's own session
        screen.see("33 101\r\n")


def test_the_kernel_tells_of_a_new_size(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    script = "trap 'stty size' WINCH; trap 'exit 8' QUIT; echo up; while :; do sleep 0.05; done"
    with at(screen, anyone, *verb, "sh", "-c", script, controlling=True) as process:
        screen.see("up\r\n")
        screen.resize(44, 111)
        screen.see("44 111\r\n")
        screen.type("\x1c")
        assert process.wait(PATIENCE) == 8
    assert screen.is_restored


def test_keys_reach_the_program(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    """Ctrl-C, Ctrl-Z and Ctrl-D are keys for the program, not for the command line."""
    script = "trap 'echo caught' INT; echo up; while read line; do echo got $line; done; echo end; exit 5"
    with at(screen, anyone, *verb, "sh", "-c", script, controlling=True) as process:
        screen.see("up\r\n")
        screen.type("\x03\r")
        screen.see("caught\r\n")
        screen.type("word\r")
        screen.see("got word\r\n")
        screen.type("\x04")
        screen.see("end\r\n")
        assert process.wait(PATIENCE) == 5
    assert screen.is_restored


def test_an_interrupt_ends_a_program_that_does_not_care(anyone: Sampan, screen: Terminal) -> None:
    with at(screen, anyone, *RUN, IMAGE, "sh", "-c", "echo up; sleep 1000; echo after $?") as process:
        screen.see("up\r\n")
        screen.type("\x03")
        process.wait(PATIENCE)
    assert screen.is_restored
    assert_clean(anyone)


def test_output_is_whole_at_the_end(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    with at(screen, anyone, *verb, "sh", "-c", "seq 3000; printf last; exit 3") as process:
        seen = screen.see("last")
        assert process.wait(PATIENCE) == 3
    assert re.findall(r"\d+", seen) == [str(number) for number in range(1, 3001)]


def test_restored_when_the_program_is_killed(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    with at(screen, anyone, *verb, "sh", "-c", "echo up $$; exec sleep 4321") as process:
        screen.see("up ")
        await_(lambda: any(command(pid).startswith("sleep 4321") for pid in processes(anyone)))
        (pid,) = (pid for pid in processes(anyone) if command(pid).startswith("sleep 4321"))
        os.kill(pid, signal.SIGKILL)
        assert process.wait(PATIENCE) == 137
    assert screen.is_restored


def test_restored_when_the_container_is_killed(anyone: Sampan, screen: Terminal) -> None:
    with at(screen, anyone, *RUN, "--name", "hull", *SHELL) as process:
        screen.see("up\r\n")
        assert screen.is_raw
        anyone("kill", "hull")
        assert process.wait(PATIENCE) == 137
    assert screen.is_restored


def test_restored_when_the_monitor_is_killed(anyone: Sampan, screen: Terminal) -> None:
    with at(screen, anyone, *RUN, "--name", "hull", *SHELL) as process:
        screen.see("up\r\n")
        (monitor,) = (pid for pid in processes(anyone) if "sampan.containers.monitor" in command(pid))
        os.kill(monitor, signal.SIGKILL)
        screen.see("the container's monitor is gone")
        assert process.wait(PATIENCE) == 125
    assert screen.is_restored


def test_restored_when_the_command_line_is_told_to_end(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"
    with at(screen, anyone, *verb, "sh", "-c", script) as process:
        screen.see("up\r\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 9
    assert screen.is_restored


def test_restored_after_an_error(anyone: Sampan, screen: Terminal, verb: tuple[str, ...]) -> None:
    with at(screen, anyone, *verb, "nothing") as process:
        assert "executable file not found" in screen.see("$PATH")
        assert process.wait(PATIENCE) == 127
    assert screen.is_restored


def test_detaching_and_attaching_again(anyone: Sampan, screen: Terminal) -> None:
    words = ("run", "-it", "--network", "none", "--name", "hull")
    with at(screen, anyone, *words, *SHELL) as process:
        screen.see("up\r\n")
        screen.type("echo one$((1))\n")
        screen.see("one1\r\n")
        screen.type("\x10\x11")
        assert process.wait(PATIENCE) == 0
    assert screen.is_restored
    assert anyone("ps", "-q").stdout
    with at(screen, anyone, "attach", "--detach-keys", "a,b", "hull") as process:
        screen.type("echo two$((2))\n")
        screen.see("two2\r\n")
        screen.type("a")
        screen.type("b")
        assert process.wait(PATIENCE) == 0
    assert screen.is_restored


def test_hanging_up_is_told(anyone: Sampan, screen: Terminal) -> None:
    """The window is closed: the container hears of it, as a program in that window would."""
    script = "trap 'echo hup; exit 1' HUP; echo up; while :; do sleep 0.05; done"
    with at(screen, anyone, *RUN, IMAGE, "sh", "-c", script) as process:
        screen.see("up\r\n")
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE) == 1
    assert_clean(anyone)


@pytest.mark.parametrize("options", [("-it",), ("-i", "-t")])
def test_without_a_terminal(anyone: Sampan, options: tuple[str, ...]) -> None:
    anyone("run", "-d", "--network", "none", "--name", "hull", IMAGE, "sleep", "1000")
    for words, code in ((("run", "--rm", *options, IMAGE), 125), (("exec", *options, "hull"), 1)):
        done = anyone(*words, "true", check=False)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr == (
            "sampan: the input device is not a TTY\n"
            "hint: leave out -t when input comes from a pipe or a file\n"
        )  # fmt: skip


def test_a_terminal_without_input(anyone: Sampan) -> None:
    """-t alone is for programs that write differently to a terminal; it needs none here."""
    done = anyone("run", "--rm", "--network", "none", "-t", IMAGE, "sh", "-c", "tty; test -c /dev/console && echo yes")
    assert (done.stdout, done.stderr) == ("/dev/pts/0\nyes\n", "")  # read as text, which has no \\r


def test_a_detached_container_with_a_terminal(anyone: Sampan) -> None:
    anyone("run", "-dit", "--network", "none", "--name", "hull", IMAGE, "sh", check=False)
    anyone("rm", "-f", "hull")
    anyone("run", "-dt", "--network", "none", "--name", "hull", IMAGE, "sh", "-c", "tty; echo err >&2")
    assert await_(lambda: state(anyone, "hull")["Status"] == "exited")
    assert anyone("logs", "hull").stdout.replace("\r", "") == "/dev/pts/0\nerr\n"


def test_nobody_inside_is_handed_the_hosts_terminal(anyone: Sampan, screen: Terminal) -> None:
    """What reads and writes inside is a terminal of the container's own: no key can be pushed into the host's."""
    script = "stat -c %d:%i /dev/pts/0 /dev/console; ls /dev/pts; echo end"
    with at(screen, anyone, *RUN, IMAGE, "sh", "-c", script) as process:
        seen = screen.see("end\r\n").split()
        assert process.wait(PATIENCE) == 0
    outside = os.fstat(screen.screen)
    assert f"{outside.st_dev}:{outside.st_ino}" not in seen
    assert seen[0] == seen[1]
    assert seen[2:] == ["0", "ptmx", "end"]
