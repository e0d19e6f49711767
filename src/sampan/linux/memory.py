"""A process's own memory."""

from __future__ import annotations

from sampan.linux.syscalls import named

_MADV_DONTNEED = 4


def give_back() -> None:
    """Gives back the pages of programs and libraries that starting needed; the kernel brings those that are used again
    from its cache (madvise(2), MADV_DONTNEED).

    Only mappings of files that hold nothing of ours are touched, so that nothing is lost. For a process that has
    started and will mostly wait. A kernel that does not tell of them (proc(5), smaps) keeps them.
    """
    idle: list[tuple[int, int]] = []
    try:
        with open("/proc/self/smaps") as file:
            start = end = 0
            for line in file:  # all of them at once would take more memory than is given back
                head, _, rest = line.partition(" ")
                if not head.endswith(":"):
                    first, _, last = head.partition("-")
                    is_file = rest[:1] == "r" and rest[1:2] == "-" and rest[3:4] == "p" and "/" in rest
                    start, end = (int(first, 16), int(last, 16)) if is_file else (0, 0)
                elif head == "Private_Dirty:" and end and rest.split()[0] == "0":
                    idle.append((start, end))
    except OSError:
        return
    for start, end in idle:
        named("madvise", start, end - start, _MADV_DONTNEED)
