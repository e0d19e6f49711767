"""An image of this machine's Python, without a network: interpreter, pip, shell and core tools, and their libraries.

``plan`` says what goes in, as values; ``layer.write`` writes it. Only public parts of the machine are copied: programs,
libraries, modules. Accounts and settings are written new, and certificates come only from their publisher
(``bases.certificates``).
"""

import os
from typing import NamedTuple

from sampan.bases import certificates, interpreter, libraries, pip
from sampan.bases.contents import Contents, files
from sampan.bases.elf import Elf
from sampan.bases.interpreter import Interpreter
from sampan.bases.libraries import By, Library, Place, Search
from sampan.errors import SampanError, Unsupported
from sampan.oci.config import ContainerConfig

DEFAULT_NAME = "localhost/python:host"

_PROGRAM_DIRECTORIES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
_PROGRAMS = """
    sh bash [ arch b2sum base64 basename cat chgrp chmod chown cksum comm cp csplit cut date dd df dir dirname du
    echo env expand expr factor false fmt fold groups head hostid id install join link ln logname ls md5sum mkdir
    mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pr printenv printf pwd readlink realpath rm rmdir seq
    sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat stty sum sync tac tail tee test
    timeout touch tr true truncate tsort tty uname unexpand uniq unlink vdir wc who whoami yes awk bunzip2 bzip2
    clear cmp diff egrep fgrep find free getent getopt grep groupadd gunzip gzip hostname kill less mawk more pgrep
    pidof ps sed setpriv tar tput uptime useradd usermod which xargs xz zcat
""".split()

# What wheels for Linux may expect of any system (PEP 600 and auditwheel's policy), what the C library opens by name
# when it looks up users and hosts or ends a thread, and nothing of X11 or OpenGL.
_EXPECTED_LIBRARIES = """
    libatomic.so.1 libc.so.6 libcrypt.so.1 libdl.so.2 libexpat.so.1 libgcc_s.so.1 libm.so.6 libnss_compat.so.2
    libnss_dns.so.2 libnss_files.so.2 libpthread.so.0 libresolv.so.2 librt.so.1 libstdc++.so.6 libutil.so.1 libz.so.1
""".split()

_TERMINALS = "ansi dumb linux rxvt-unicode screen screen-256color tmux tmux-256color vt100 vt220 xterm xterm-256color"
_TERMINFO = ("/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")

_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_DIRECTORIES = """
    dev etc home media mnt opt proc run srv sys usr/bin usr/lib usr/local/bin usr/local/lib usr/sbin usr/share
    var/cache var/lib var/log var/mail var/spool
""".split()

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
shadow:x:42:
www-data:x:33:
staff:x:50:
users:x:100:
nogroup:x:65534:
"""
_NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"
_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
# shadow-utils: what useradd needs to know, no more.
_LOGIN_DEFS = "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nUMASK 022\nUSERGROUPS_ENAB yes\n"


class Plan(NamedTuple):
    """``left_out`` is what this machine lacks or cannot give: names, each with the reason."""

    contents: Contents
    config: ContainerConfig
    left_out: tuple[tuple[str, str], ...]


def plan() -> Plan:
    """What an image of this machine holds. Raises Denied, NotFound or Unsupported when its Python cannot be taken."""
    python = interpreter.running()
    contents = Contents(python.place)
    _plan_skeleton(contents)
    extensions = interpreter.plan_standard_library(python, contents)
    left_out = _Programs(python, contents).plan(extensions)
    found = pip.plan(python, contents)
    if not found:
        left_out.append(("pip", "this Python has none, and no ensurepip"))
    if not _plan_certificates(python, contents, found.bundle if found else None):
        left_out.append(("CA certificates", "no bundle here is as its publisher shipped it"))
    _plan_terminals(contents)
    _plan_trees(contents)
    return Plan(contents, _config(python), tuple(left_out))


def _plan_skeleton(contents: Contents) -> None:
    for name in _MERGED:
        if os.path.islink(f"/{name}"):
            contents.link(name, os.readlink(f"/{name}").lstrip("/"))
    for path in _DIRECTORIES:
        contents.directory(path)
    contents.directory("root", 0o700)
    for path in ("tmp", "var/tmp"):
        contents.directory(path, 0o1777)
    contents.link("var/run", "/run")
    for path, text in (
        ("etc/passwd", _PASSWD),
        ("etc/group", _GROUP),
        ("etc/nsswitch.conf", _NSSWITCH),
        ("etc/hosts", _HOSTS),
        ("etc/login.defs", _LOGIN_DEFS),
        ("etc/shells", "/bin/sh\n/bin/bash\n"),
    ):
        contents.write(path, text)
    for path, source in (("etc/shadow", _PASSWD), ("etc/gshadow", _GROUP)):
        names = [line.split(":")[0] for line in source.splitlines()]
        tail = ":*:19000:0:99999:7:::" if source is _PASSWD else ":*::"
        contents.write(path, "".join(f"{name}{tail}\n" for name in names), 0o640)
    _if_there(contents, "/etc/os-release")


class _Programs:
    """Puts programs in together with the libraries that they need; what cannot be had is left out, with its reason."""

    def __init__(self, python: Interpreter, contents: Contents) -> None:
        self._python = python
        self._contents = contents
        header = libraries.Search(()).read(python.executable)
        if header is None:
            raise Unsupported(f"{python.executable} is not an ELF program")
        self._header: Elf = header
        self._loader = header.interpreter
        self._search: Search = libraries.search(self._loader)
        self._home = os.path.dirname(os.path.realpath(self._loader)) if self._loader else ""

    def plan(self, extensions: list[str]) -> list[tuple[str, str]]:
        """Adds the interpreter's libraries, its extension modules and the programs; gives what was left out."""
        python, left_out = self._python, list[tuple[str, str]]()
        missing = self._libraries(python.executable)
        if missing:
            raise Unsupported(f"{python.executable} needs {missing}, which is not on this machine")
        inherited = self._search.rpath(python.executable)
        for path in extensions:
            missing = self._libraries(path, inherited)
            if missing:
                left_out.append((os.path.basename(path).partition(".")[0], f"needs {missing}"))
            else:
                self._contents.copy(path, python.place(path))
        for name in _PROGRAMS:
            reason = self._program(name)
            if reason:
                left_out.append((name, reason))
        for name in _EXPECTED_LIBRARIES:
            library = self._search.find(name, self._header)
            if library and not self._libraries(library.path):
                self._library(library)
        return left_out

    def _program(self, name: str) -> str | None:
        """Adds one program; gives why not, if so."""
        path = next((f"{place}/{name}" for place in _PROGRAM_DIRECTORIES if os.path.exists(f"{place}/{name}")), None)
        if not path:
            return "not on this machine"
        try:
            reason = self._loadable(path)
            if not reason:
                self._contents.follow(path)
        except SampanError as error:
            return error.message
        return reason

    def _loadable(self, path: str) -> str | None:
        if self._search.read(path):
            missing = self._libraries(path)
            return f"needs {missing}" if missing else None
        with open(path, "rb") as file:
            mark, _, command = file.readline(256).partition(b"!")
        is_shell = mark == b"#" and command.split()[:1] in ([b"/bin/sh"], [b"/bin/bash"])
        return None if is_shell else "neither a machine program nor a shell script"

    def _libraries(self, path: str, inherited: tuple[Place, ...] = ()) -> str:
        """Adds what the object at ``path`` needs; gives the missing names instead, if any."""
        closure = self._search.closure(path, inherited)
        if closure.missing:
            return ", ".join(closure.missing)
        header = self._search.read(path)
        if header and header.interpreter:
            self._contents.follow(header.interpreter)
        for library in closure.libraries:
            self._library(library)
        return ""

    def _library(self, library: Library) -> None:
        place = self._python.place(library.path)
        if place == library.path:
            self._contents.follow(library.path)
        else:
            self._contents.copy(library.path, place)
        moved, at_home = place != library.path, os.path.realpath(os.path.dirname(library.path)) == self._home
        if (library.by is By.SEARCH and not at_home) or (library.by is By.ABSOLUTE and moved):
            # The image has no ldconfig and no LD_LIBRARY_PATH; every loader searches the directory of its C library.
            self._contents.link(f"{self._home}/{library.name}", place)


def _plan_certificates(python: Interpreter, contents: Contents, bundle: bytes | None) -> bool:
    import ssl

    bundle = bundle or certificates.from_debian()
    if not bundle:
        return False
    contents.write(certificates.BUNDLE, bundle)
    default = ssl.get_default_verify_paths().openssl_cafile
    contents.link(python.place(default), certificates.BUNDLE)
    return True


def _plan_terminals(contents: Contents) -> None:
    for name in _TERMINALS.split():
        for directory in _TERMINFO:
            _if_there(contents, f"{directory}/{name[0]}/{name}")


def _plan_trees(contents: Contents) -> None:
    """Time zones, for zoneinfo, and the files that LANG=C.UTF-8 takes with C libraries before 2.35."""
    for directory in ("/usr/share/zoneinfo", "/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"):
        if os.path.isdir(directory):
            for path in files(directory, lambda name: name not in ("posix", "right", "localtime")):
                contents.copy(path)


def _if_there(contents: Contents, path: str) -> None:
    try:
        contents.follow(path)
    except SampanError:
        return


def _config(python: Interpreter) -> ContainerConfig:
    env = (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
        "PYTHON_VERSION={}.{}.{}".format(*python.version),
    )
    return ContainerConfig(env=env, cmd=("python3",))
