"""Programs of others that run at moments of a container's life (runtime-spec, config.md, "POSIX-platform Hooks").

    prestart, createRuntime   namespaces and mounts exist    on the host, by the parent
    createContainer           before the pivot               in the container's namespaces, by the first process
    startContainer            before the program             in the container, by the first process
    poststart, poststop       it runs; it is deleted         on the host, by the command

Imported by the first process too, and used there after the pivot: nothing is imported late.
"""

from __future__ import annotations

import os
import select
from _signal import SIGKILL

from sampan import plainjson
from sampan.errors import Invalid, SampanError
from sampan.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


class Hook(NamedTuple):
    """One program. ``timeout`` is in seconds, 0 for none."""

    kind: str
    path: str
    args: tuple[str, ...]
    env: dict[str, str]
    timeout: int


class Inside(NamedTuple):
    """Those that the first process runs. ``waits`` is whether it also lets the parent run some; ``state`` is what each
    is told, but for the status and the process id."""

    waits: bool = False
    create: tuple[Hook, ...] = ()
    start: tuple[Hook, ...] = ()
    state: bytes = b""


NONE_INSIDE = Inside()


def of(spec: dict[str, Any], *kinds: str) -> tuple[Hook, ...]:
    """The spec's hooks of these kinds, in order. Raises Invalid."""
    return tuple(_hook(kind, entry) for kind in kinds for entry in (spec.get("hooks") or {}).get(kind) or ())


def beside(spec: dict[str, Any], bundle: str) -> tuple[tuple[Hook, ...], Inside]:
    """Those of one of the engine's own containers: which its parent runs when all is mounted, and the first process's.
    Raises Invalid."""
    if not spec.get("hooks"):
        return (), NONE_INSIDE
    rest = {"ociVersion": spec["ociVersion"], "id": os.path.basename(bundle), "bundle": bundle}
    early = of(spec, "prestart", "createRuntime")
    told = plainjson.dumps(rest | {"annotations": spec.get("annotations") or {}}).encode()
    return early, Inside(bool(early), of(spec, "createContainer"), of(spec, "startContainer"), told)


def _hook(kind: str, entry: dict[str, Any]) -> Hook:
    path = entry.get("path") or ""
    if not path.startswith("/"):
        raise Invalid(f"the path of a {kind} hook is not absolute: {path!r}")
    timeout = entry.get("timeout") or 0
    if not isinstance(timeout, int) or timeout < 0:
        raise Invalid(f"the timeout of the {kind} hook {path} is not a number of seconds: {timeout!r}")
    env = dict(text.split("=", 1) for text in entry.get("env") or () if text.find("=") > 0)
    return Hook(kind, path, tuple(entry.get("args") or (path,)), env, timeout)


def state(rest: bytes, status: bytes, pid: int) -> bytes:
    """The container's state as a hook reads it; ``rest`` is a JSON object with what does not change."""
    return b'{"status":"%s","pid":%d,' % (status, pid) + rest[1:]


def perform(hooks: tuple[Hook, ...], text: bytes) -> None:
    """Runs hooks one after the other with ``text`` on their standard input. Raises SampanError for one that fails."""
    for hook in hooks:
        code = _run(hook, text)
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise SampanError(f"the {hook.kind} hook {hook.path} failed: {how}")


def _run(hook: Hook, text: bytes) -> int:
    """The exit code of a hook, negative for a signal."""
    source = os.memfd_create("state")  # and not a pipe, which one that does not read would fill
    try:
        os.write(source, text)
        os.lseek(source, 0, os.SEEK_SET)
        pid = os.posix_spawn(
            hook.path, hook.args, hook.env, file_actions=[(os.POSIX_SPAWN_DUP2, source, 0)], setsigmask=()
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise SampanError(f"the {hook.kind} hook {hook.path} cannot be executed: {reason}") from None
    finally:
        os.close(source)
    if hook.timeout and not _ended(pid, hook.timeout):
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
        raise SampanError(f"the {hook.kind} hook {hook.path} did not end within {hook.timeout} seconds")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _ended(pid: int, seconds: int) -> bool:
    fd = syscalls.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(fd)
