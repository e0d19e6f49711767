"""Small programs that try what a container must not be able to do: freestanding C, made by the machine's gcc, so that
an image needs nothing else to run them."""

import functools
import subprocess
import tempfile
from pathlib import Path

# System calls by hand: there is no C library in the images that these are put into.
_START = r"""
typedef unsigned long word;
static long call(long n, long a, long b, long c, long d) {
#ifdef __x86_64__
    register long r10 __asm__("r10") = d;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
#else
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
#endif
    return r;
}
static void say(const char *text) {
    long n = 0;
    while (text[n]) n++;
#ifdef __x86_64__
    call(1, 1, (long)text, n, 0);
#else
    call(4, 1, (long)text, n, 0);
#endif
}
static void count(long n) {
    char text[24];
    int at = 23;
    long left = n < 0 ? -n : n;
    text[at] = 0;
    do { text[--at] = '0' + left % 10; left /= 10; } while (left);
    if (n < 0) text[--at] = '-';
    say(text + at);
}
static void begin(word *stack);
__asm__(".globl _start\n_start:\n"
#ifdef __x86_64__
    "mov %rsp, %rdi\nand $-16, %rsp\ncall begin\n"
#else
    "mov %esp, %eax\nand $-16, %esp\nsub $12, %esp\npush %eax\ncall begin\n"
#endif
);
"""

_TAKE = r"""
__attribute__((used)) static void begin(word *stack) {
    char **argv = (char **)(stack + 1), link[64] = {0}, path[] = "/proc/self/fd/3";
    word about[15];
    if (argv[0][0] != 'l') {  // in the place of the runtime's C library: /proc/self/exe is the runtime's own file
        long fd = call(257, -100, (long)"/proc/self/exe", 010000000, 0);
        call(89, (long)"/proc/self/exe", (long)link, 60, 0);
        call(138, fd, (long)about, 0, 0);
        say("exe "); say(link); say(about[10] & 1 ? " read-only" : " writable"); say("\n");
        if (fd != 3) call(292, fd, 3, 0, 0);
        char *next[] = {"loop", 0};
        call(59, (long)"/loop", (long)next, 0, 0);
        call(60, 99, 0, 0, 0);
    }
    for (int round = 0; round < 500; round++) {
        const char *names[] = {path, "/proc/1/exe"};
        for (int n = 0; n < 2; n++) {
            long fd = call(257, -100, (long)names[n], 1, 0);
            if (fd >= 0 && call(1, fd, (long)"OVERWRITTEN", 11, 0) > 0) { say("overwritten\n"); call(60, 1, 0, 0, 0); }
            if (fd >= 0) call(3, fd, 0, 0, 0);
            if (round == 0) { say(names[n]); say(" "); count(fd < 0 ? fd : 0); say("\n"); }
        }
        call(24, 0, 0, 0, 0);
    }
    say("tried\n");
    call(60, 0, 0, 0, 0);
}
"""

_ASK = r"""
struct question { const char *name; long n, a, b, c, d; };
__attribute__((used)) static void begin(word *stack) {
    struct question all[] = {QUESTIONS};
    for (int n = 0; n < sizeof all / sizeof *all; n++) {
        struct question *q = all + n;
        long answer = call(q->n, q->a, q->b, q->c, q->d);
        if (answer == 0 && q->name[0] == 'c' && q->name[1] == 'l') call(EXIT, 0, 0, 0, 0);  // the child of a clone
        say(q->name); say(" "); count(answer < 0 ? answer : 0); say("\n");
    }
    call(EXIT, 0, 0, 0, 0);
}
"""
# Name: arguments, number on x86_64 and on i386 (asm/unistd_64.h, asm/unistd_32.h).
REFUSED = {
    "socket(AF_ALG)": ("38, 5, 0, 0", 41, 359),
    "socket(AF_VSOCK)": ("40, 1, 0, 0", 41, 359),
    "keyctl": ("0, 0, 0, 0", 250, 288),
    "add_key": ("0, 0, 0, 0", 248, 286),
    "request_key": ("0, 0, 0, 0", 249, 287),
    "bpf": ("99, 0, 0, 0", 321, 357),
    "userfaultfd": ("1, 0, 0, 0", 323, 374),
    "io_uring_setup": ("1, 0, 0, 0", 425, 425),
    "perf_event_open": ("0, 0, 0, 0", 298, 336),
    "clone(NEWUSER)": ("0x10000011, 0, 0, 0", 56, 120),
    "unshare(NEWUSER)": ("0x10000000, 0, 0, 0", 272, 310),
    "unshare(NEWNS)": ("0x20000, 0, 0, 0", 272, 310),
    "unshare(NEWCGROUP)": ("0x2000000, 0, 0, 0", 272, 310),
    "mount": ("0, 0, 0, 0", 165, 21),
    "umount2": ("0, 0, 0, 0", 166, 52),
    "fsopen": ("0, 0, 0, 0", 430, 430),
    "open_tree": ("0, 0, 0, 0", 428, 428),
    "setns": ("0, 0, 0, 0", 308, 346),
    "pivot_root": ("0, 0, 0, 0", 155, 217),
    "open_by_handle_at": ("0, 0, 0, 0", 304, 342),
    "init_module": ("0, 0, 0, 0", 175, 128),
    "kexec_load": ("0, 0, 0, 0", 246, 283),
}
"""What the default profile refuses, with EPERM; without it each answers otherwise, at least for root."""
ENOSYS = {"clone3": ("0, 0, 0, 0", 435, 435)}
"""Refused as if there were no such call, so that the C library takes an older one."""


_SWAP = r"""
__attribute__((used)) static void begin(word *stack) {
    char **argv = (char **)(stack + 1);
    if (call(80, (long)argv[1], 0, 0, 0)) call(60, 1, 0, 0, 0);
    say("up\n");
    register long other __asm__("r10") = (long)"b", flags __asm__("r8") = 2;  // RENAME_EXCHANGE
    for (;;) {
        long r;
        __asm__ volatile("syscall" : "=a"(r) : "a"(316L), "D"(-100L), "S"("a"), "d"(-100L), "r"(other), "r"(flags)
                         : "rcx", "r11", "memory");
    }
}
"""


def swapper() -> bytes:
    """A program that has what is called "a" and what is called "b" in the directory of its first argument take turns,
    without end; it says "up" when it begins."""
    return _made(_SWAP, "-m64", "-static", "-fno-pie", "-no-pie")


def taker() -> bytes:
    """A program of two parts. As /lib64/ld-linux-x86-64.so.2 it keeps the file of whoever was to be loaded open, and
    becomes /loop, which tries to overwrite that file; both say what came of it."""
    return _made(_TAKE, "-m64", "-static-pie", "-fPIE")


def asker(bits: int) -> bytes:
    """A program for x86 with words of so many ``bits`` that makes the calls of ``REFUSED`` and ``ENOSYS``.

    It says what the kernel answers: a name and -errno a line, 0 for what worked.
    """
    column = {64: 1, 32: 2}[bits]
    rows = {**REFUSED, **ENOSYS}.items()
    questions = ",".join(f'{{"{name}", {row[column]}, {row[0]}}}' for name, row in rows)
    return _made(
        _ASK,
        f"-m{bits}",
        "-static",
        "-fno-pie",
        "-no-pie",
        f"-DQUESTIONS={questions}",
        f"-DEXIT={60 if bits == 64 else 1}",
    )


@functools.cache
def _made(source: str, *flags: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "made"
        words = ["gcc", "-O1", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-w", *flags, "-x", "c", "-"]
        subprocess.run([*words, "-o", str(path)], input=_START + source, text=True, check=True)
        return path.read_bytes()
