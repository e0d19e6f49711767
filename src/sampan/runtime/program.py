"""Which program a container becomes: found by the container's own PATH, and never the runtime itself.

Part of the first process, after the pivot; nothing is imported late.
"""

from __future__ import annotations

import errno
import os
import stat

from sampan.errors import CommandMissing, NotExecutable, SampanError
from sampan.linux import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSWD_LIMIT = 1 << 20


def find(process: dict[str, Any], own: os.stat_result) -> tuple[str, dict[str, str]]:
    """The absolute path of the program, found by its own walk of PATH (os.execvp imports), and its environment."""
    environment = {}
    for entry in process.get("env") or ():
        key, equals, value = entry.partition("=")
        if key and equals:  # an entry without "=" must not draw a value from outside (podman's CVE-2026-57231)
            environment[key] = value
    if "HOME" not in environment:
        environment["HOME"] = _home((process.get("user") or {}).get("uid", 0))
    command = process["args"][0]
    if not command:
        raise CommandMissing("the command is empty")
    if "/" in command:
        return _checked(command, command, own), environment
    for directory in environment.get("PATH", DEFAULT_PATH).split(":"):
        candidate = f"{directory or '.'}/{command}"
        try:
            status = os.stat(candidate)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and (os.access(candidate, os.X_OK) or _forbids_all(candidate)):
            return _checked(candidate, command, own), environment
    raise CommandMissing(f'exec: "{command}": executable file not found in $PATH')


def _home(uid: int) -> str:
    """A user's home by the container's /etc/passwd (passwd(5)), "/" for one whom it does not know."""
    try:
        root = beneath.open_root("/")
        lines = beneath.read_file(root, b"/etc/passwd", _PASSWD_LIMIT).split(b"\n")
        os.close(root)
    except OSError:
        return "/"
    for line in lines:
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == b"%d" % uid and fields[5]:
            return os.fsdecode(fields[5])
    return "/"


def _checked(path: str, command: str, own: os.stat_result) -> str:
    """``path``, if it can be executed and is not the runtime itself by way of /proc/self/exe (CVE-2019-5736)."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise not_executable(command, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise NotExecutable(f'exec: "{command}": is a directory')
    if (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino):
        raise NotExecutable(f'exec: "{command}": permission denied: it is the container runtime itself')
    if not os.access(path, os.X_OK):
        hint = "the file system it lies on is mounted noexec: the store can lie elsewhere (--root DIR)"
        raise NotExecutable(f'exec: "{command}": permission denied', hint=hint if _forbids_all(path) else None)
    return path


def _forbids_all(path: str) -> bool:
    """Whether nothing can be executed where a file lies (mount(2), MS_NOEXEC)."""
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)


def not_executable(command: str, error: OSError) -> SampanError:
    """What to raise where ``command`` could not be executed, with the likely reason."""
    reason = os.strerror(error.errno or 0).lower()
    hint = None
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.exists(command):
            hint = "the file is there: the interpreter in its first line, or the loader of its C library, is not"
        return CommandMissing(f'exec: "{command}": {reason}', hint=hint)
    if error.errno == errno.ENOEXEC:
        hint = "is it a script without #! in its first line, or a program for another processor?"
    return NotExecutable(f'exec: "{command}": {reason}', hint=hint)
