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

_FAMILY = r"""
__attribute__((used)) static void begin(word *stack) {
    long mux[] = {38, 5, 0};
    say("socket "); count(call(359, 38, 5, 0, 0));
    say(" inet "); count(call(359, 2, 1, 0, 0) >= 0);
    say(" socketcall "); count(call(102, 1, (long)mux, 0, 0));
    say(" keyctl "); count(call(288, 1, 0, 0, 0));
    say(" bpf "); count(call(357, 0, 0, 0, 0));
    say(" userfaultfd "); count(call(374, 1, 0, 0, 0));
    say(" io_uring "); count(call(425, 1, 0, 0, 0));
    say(" perf "); count(call(336, 0, 0, 0, 0));
    say(" unshare "); count(call(310, 0x10000000, 0, 0, 0));
    say(" clone3 "); count(call(435, 0, 0, 0, 0));
    say(" mount "); count(call(21, 0, 0, 0, 0));
    say("\n");
    call(1, 0, 0, 0, 0);
}
"""


def taker() -> bytes:
    """A program of two parts. As /lib64/ld-linux-x86-64.so.2 it keeps the file of whoever was to be loaded open, and
    becomes /loop, which tries to overwrite that file; both say what came of it."""
    return _made(_TAKE, "-m64", "-static-pie", "-fPIE")


def asker() -> bytes:
    """A program for 32-bit x86 that says what the kernel answers (-errno) to calls that the default profile refuses."""
    return _made(_FAMILY, "-m32", "-static", "-fno-pie", "-no-pie")


@functools.cache
def _made(source: str, *flags: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "made"
        words = ["gcc", "-O1", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-w", *flags, "-x", "c", "-"]
        subprocess.run([*words, "-o", str(path)], input=_START + source, text=True, check=True)
        return path.read_bytes()
