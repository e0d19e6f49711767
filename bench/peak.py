"""Performs a command and writes the peak memory of its largest process: ``python -I -S peak.py FILE COMMAND…``.

A process of its own, for what a process held before it became another program counts as its peak too (the kernel
keeps the mark across execve): the fork has to come from something that is smaller than what is measured.
"""

import os
import sys

report, command = sys.argv[1], sys.argv[2:]
pid = os.fork()
if pid == 0:
    os.execv(command[0], command)
_, status, usage = os.wait4(pid, 0)
with open(report, "w") as file:
    file.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) != 0)
