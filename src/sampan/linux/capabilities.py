"""Capabilities (capabilities(7)) by their names, and the sets of the calling thread."""

from sampan.linux import syscalls
from sampan.linux.syscalls import named, prctl

NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
NUMBERS = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522


def mask(names: list[str] | tuple[str, ...]) -> int:
    """The bit set of the capabilities with these names; KeyError for an unknown one."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return bits


def bounding() -> int:
    """The bounding set of this thread: what it and its children can have at most."""
    bits = 0
    for number in range(64):
        try:
            bits |= prctl(syscalls.PR_CAPBSET_READ, number) << number
        except OSError:  # EINVAL: the kernel knows no capability from here on
            break
    return bits


def effective() -> int:
    """The effective set of this process (proc(5), status)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))


def limit_bounding(keep: int) -> None:
    """Drops every capability that is not in ``keep`` from the bounding set (needs CAP_SETPCAP)."""
    present = bounding()
    for number in range(64):
        if present >> number & 1 and not keep >> number & 1:
            prctl(syscalls.PR_CAPBSET_DROP, number)


def set_all(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) on this thread."""
    header = syscalls.buffer(_VERSION_3.to_bytes(4, "little") + bytes(4))
    words = [(value >> shift & 0xFFFFFFFF) for shift in (0, 32) for value in (effective, permitted, inheritable)]
    named("capset", header, b"".join(word.to_bytes(4, "little") for word in words))


def set_ambient(bits: int) -> None:
    """Makes the ambient set ``bits``; each must be permitted and inheritable."""
    prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(len(NAMES)):
        if bits >> number & 1:
            prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)
