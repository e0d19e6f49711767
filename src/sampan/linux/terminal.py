"""The caller's terminal: its size, and the raw mode in which every key goes to the program at the other end."""

import os
import termios


class raw:
    """Puts terminal ``fd`` into raw mode for the length of a ``with`` block, and back on every way out (cfmakeraw(3)).

    Does nothing for what is not a terminal.
    """

    __slots__ = ("_before", "_fd")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before = termios.tcgetattr(fd) if os.isatty(fd) else None

    def __enter__(self) -> None:
        if self._before is None:
            return
        iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(self._fd)
        iflag &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        cc[termios.VMIN], cc[termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])

    def __exit__(self, *rest: object) -> None:
        if self._before is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


def size(fd: int) -> tuple[int, int] | None:
    """Rows and columns of terminal ``fd``; None if it is none."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return None
    return rows, columns


def set_size(fd: int, rows: int, columns: int) -> None:
    """Sets a terminal's size, which tells its programs by SIGWINCH (ioctl_tty(2), TIOCSWINSZ)."""
    import fcntl
    import sys

    values = (min(rows, 0xFFFF), min(columns, 0xFFFF), 0, 0)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, b"".join(value.to_bytes(2, sys.byteorder) for value in values))
