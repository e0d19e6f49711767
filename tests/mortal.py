"""The command line, dying as by ``kill -9`` just before a certain call to the operating system or to the database.

python mortal.py count FILE ARGUMENT...       runs to the end, and notes in FILE how often it made each kind of call
python mortal.py FUNCTION NUMBER ARGUMENT...  dies before the NUMBERth call of FUNCTION

Unlike a moment in time, a moment told like this is met again on any machine, and lies between two changes of the disk.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter
from types import BuiltinFunctionType, FrameType
from typing import Any

_CALLS = frozenset(
    "chmod close copy_file_range execute executemany executescript fchmod flock fsync ftruncate link mkdir mknod open "
    "posix_spawn pwrite recvmsg remove rename rmdir send sendfile sendmsg setxattr symlink truncate unlink utime write"
    "".split()
)


def run(function: str, number: int, note: str = "") -> None:
    """The command line, with what is left in ``sys.argv``; it ends this process."""
    counts: Counter[str] = Counter()

    def notice(frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or not isinstance(called, BuiltinFunctionType):
            return
        name = called.__name__
        if name in _CALLS:
            counts[name] += 1
            if name == function and counts[name] == number:
                os.kill(os.getpid(), signal.SIGKILL)
        elif name == "_exit" and note:
            with open(note, "w") as file:
                json.dump(counts, file)

    from sampan.cli import main

    threading.setprofile(notice)
    sys.setprofile(notice)
    main.run()


if __name__ == "__main__":
    _, what, where, *arguments = sys.argv
    sys.argv[1:] = arguments
    if what == "count":
        run("", 0, where)
    run(what, int(where))
