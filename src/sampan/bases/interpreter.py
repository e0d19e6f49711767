"""The Python that runs sampan, as files to put into an image: the interpreter and its standard library."""

import os
import sys
from typing import NamedTuple

from sampan.bases.contents import Contents, files
from sampan.errors import Denied, NotFound

IMAGE_PREFIX = "/usr/local"

# Graphics, tests, what belongs to the machine, and what only builds of Python itself read.
_LEFT_OUT = frozenset(
    "__pycache__ EXTERNALLY-MANAGED dist-packages idlelib site-packages sitecustomize.py test tests tkinter turtle.py "
    "turtledemo usercustomize.py".split()
)
_LEFT_OUT_BEGINNINGS = tuple(
    "config- _ctypes_test. _testbuffer. _testcapi. _testclinic _testexternalinspection. _testimportmultiple. "
    "_testinternalcapi. _testlimitedcapi. _testmultiphase. _testsinglephase. _tkinter. _xxtestfuzz. xxlimited "
    "xxsubtype.".split()
)


class Interpreter(NamedTuple):
    """A Python as it lies on this machine.

    ``prefix`` is where its files lie now, ``image_prefix`` where they go: one under a prefix of its own can be moved
    and becomes /usr/local; the system's own stays at /usr, where its compiled-in paths and its pip expect it.
    """

    executable: str
    prefix: str
    image_prefix: str
    stdlib: str
    version: tuple[int, int, int]

    def place(self, path: str) -> str:
        """Where a path of this machine goes in the image."""
        return self.image_prefix + path[len(self.prefix) :] if path.startswith(f"{self.prefix}/") else path

    @property
    def name(self) -> str:
        """python3.11 and the like."""
        return "python{}.{}".format(*self.version)

    @property
    def bin(self) -> str:
        """Its directory of programs, in the image."""
        return f"{self.image_prefix}/bin"


def running() -> Interpreter:
    """The interpreter behind this process, and behind its virtual environment if it has one.

    Raises Denied when this user cannot read it, and NotFound when it has no standard library in files.
    """
    import sysconfig

    prefix = os.path.realpath(sys.base_prefix)
    stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
    executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    for path in (executable, f"{stdlib}/os.py"):
        if not os.access(path, os.R_OK):
            if _behind_a_wall(path):
                raise Denied(
                    f"this Python lies where the present user cannot read it: {path}",
                    hint="run sampan with a Python that every user can read, such as /usr/bin/python3",
                )
            raise NotFound(f"this Python has no {path}", hint="run sampan with an ordinary Python installation")
    # A distribution's Python is spread over /usr and linked to it; any other is one tree.
    stays = prefix == "/usr" or not stdlib.startswith(f"{prefix}/")
    image_prefix = prefix if stays else IMAGE_PREFIX
    return Interpreter(executable, prefix, image_prefix, stdlib, sys.version_info[:3])


def plan_standard_library(python: Interpreter, contents: Contents) -> list[str]:
    """Puts the interpreter and its standard library in; gives the extension modules, whose libraries are wanted too."""
    contents.copy(python.executable, f"{python.bin}/{python.name}")
    contents.link(f"{python.bin}/python3", python.name)
    contents.link(f"{python.bin}/python", python.name)
    extensions = []
    for path in files(python.stdlib, _is_wanted):
        target = python.place(path)
        if path.endswith(".so"):
            extensions.append(path)
        elif path.endswith(".py"):
            plan_module(path, target, contents)
        else:
            contents.copy(path, target)
    return extensions


def plan_module(path: str, target: str, contents: Contents) -> None:
    """Puts the module at ``path`` in as ``target``, with its byte code."""
    contents.copy(path, target)
    with open(path, "rb") as file:
        source = file.read()
    plan_byte_code(source, _known_code(path, source), target, contents)


def plan_byte_code(source: bytes, code: bytes | None, target: str, contents: Contents) -> None:
    """Byte code that Python takes without a look at the source's time (PEP 552), which a rebuilt image may change.

    ``code`` is the marshalled code if it is known, else the source is compiled.
    """
    from importlib.util import MAGIC_NUMBER, source_hash

    code = code or _compiled(source, target)
    if code:
        contents.write(_cache(target), MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + code)


def _compiled(source: bytes, target: str) -> bytes | None:
    import marshal
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return marshal.dumps(compile(source, target, "exec", dont_inherit=True, optimize=0))
        except (SyntaxError, ValueError):
            return None  # templates and old syntax that nobody imports


def _known_code(path: str, source: bytes) -> bytes | None:
    """The module's byte code that this machine already has, if it belongs to this very source (PEP 552)."""
    from importlib.util import MAGIC_NUMBER, source_hash

    try:
        with open(_cache(path), "rb") as file:
            data = file.read()
        time = int(os.stat(path).st_mtime) & 0xFFFFFFFF
    except OSError:
        return None
    by_hash = int.from_bytes(data[4:8], "little") & 1
    stamp = source_hash(source) if by_hash else time.to_bytes(4, "little") + len(source).to_bytes(4, "little")
    return data[16:] if data[:4] == MAGIC_NUMBER and data[8:16] == stamp else None


def _cache(path: str) -> str:
    """Where the byte code of a module lies (PEP 3147), also for a process that has been told another place."""
    directory, name = os.path.split(path)
    return f"{directory}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"


def _is_wanted(name: str) -> bool:
    return name not in _LEFT_OUT and not name.startswith(_LEFT_OUT_BEGINNINGS)


def _behind_a_wall(path: str) -> bool:
    """Whether a directory on the way (or the file itself) is closed to this user, rather than something missing."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
