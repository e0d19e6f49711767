"""The log of ``sampan runtime``: what the engine that called it is to hear, in logrus's form, as engines read it."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_path, _form = "", ""


def settle(path: str, form: str) -> None:
    """Has what follows written to ``path`` ("": to no file), as "text" or "json"."""
    global _path, _form
    _path, _form = path, form


def warn(sentences: "Sequence[str]") -> None:
    """To the log or else a terminal: any other standard error is the container's own."""
    for sentence in sentences:
        if _path:
            _write("warning", sentence)
        elif os.isatty(2):
            sys.stderr.write(f"WARNING: {sentence}\n")


def fail(error: Exception) -> None:
    """Writes down why a command failed."""
    if _path:
        from sampan.cli import failures

        _write("error", failures.explain(error).message)


def _write(level: str, message: str) -> None:
    import time

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if _form == "json":
        from sampan import plainjson

        line = plainjson.dumps({"level": level, "msg": message, "time": now})
    else:
        line = f'time="{now}" level={level} msg={message!r}'
    try:
        fd = os.open(_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        sys.stderr.write(f"WARNING: cannot write the log {_path}: {failure.strerror}\n")
        return
    os.write(fd, f"{line}\n".encode())
    os.close(fd)
