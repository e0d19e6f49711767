"""The seldom verbs of ``sampan runtime``, and the process that ``exec`` is asked for."""

import json
import os
import sys
import time

from sampan.cli.flags import Parsed, UsageError
from sampan.errors import Conflict, Invalid, NotFound
from sampan.runtime import command, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def process_of(arguments: Parsed, root: str, name: str, words: list[str]) -> "dict[str, Any]":
    """The runtime-spec ``process`` that ``exec`` asks for: from a file, or as the container's own but for some things.

    Raises Invalid.
    """
    path = arguments.text("process")
    if path:
        return _object(path)
    if not words:
        raise UsageError("exec needs a command, or --process")
    process = dict(state.spec(state.find(root, name)).get("process") or {})
    process["args"] = words
    process["terminal"] = arguments.on("tty")
    process["env"] = [*(process.get("env") or ()), *arguments.texts("env")]
    for key, flag in (("cwd", "cwd"), ("apparmorProfile", "apparmor"), ("selinuxLabel", "process-label")):
        if arguments.text(flag):
            process[key] = arguments.text(flag)
    if arguments.on("no-new-privs"):
        process["noNewPrivileges"] = True
    _take_user(process, arguments)
    caps = arguments.texts("cap")
    if caps:
        sets = {**(process.get("capabilities") or {})}
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = [*(sets.get(kind) or ()), *caps]
        process["capabilities"] = sets
    return process


def _take_user(process: "dict[str, Any]", arguments: Parsed) -> None:
    user = dict(process.get("user") or {})
    asked, groups = arguments.text("user"), arguments.texts("additional-gids")
    if asked:
        uid, colon, gid = asked.partition(":")
        if not (uid.isascii() and uid.isdigit()) or (colon and not (gid.isascii() and gid.isdigit())):
            raise Invalid(f"--user {asked!r}: numbers are wanted, UID or UID:GID")
        user["uid"] = int(uid)
        if colon:
            user["gid"] = int(gid)
    if groups:
        if not all(group.isascii() and group.isdigit() for group in groups):
            raise Invalid(f"--additional-gids {' '.join(groups)}: numbers are wanted")
        user["additionalGids"] = [*(user.get("additionalGids") or ()), *map(int, groups)]
    process["user"] = user


def _object(path: str) -> "dict[str, Any]":
    from sampan.runtime import bundle

    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            return bundle.parse(file.read(8 << 20), path)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from None


def _features(arguments: Parsed, root: str) -> int:
    from sampan.runtime import features

    _print(features.features())
    return 0


def _print(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


_NARROWEST = 12
"""Columns are as wide as runc's."""


def _list(arguments: Parsed, root: str) -> int:
    shown = []
    for name in state.names(root):
        try:
            place = state.find(root, name)
            record = state.shown(place, state.read(place))
            shown.append({**record, "owner": _owner(record["owner"])})
        except NotFound:
            continue  # it is being made, or went away just now
    if arguments.on("quiet"):
        sys.stdout.write("".join(f"{each['id']}\n" for each in shown))
    elif _format(arguments) == "json":
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        rows = [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
        rows += [[str(each[key.lower()]) for key in rows[0]] for each in shown]
        widths = [max(_NARROWEST, *(len(row[column]) + 3 for row in rows)) for column in range(len(rows[0]))]
        for row in rows:
            line = "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            sys.stdout.write(line.rstrip() + "\n")
    return 0


def _owner(uid: str) -> str:
    """The user's name, if he has one."""
    import pwd

    try:
        return pwd.getpwuid(int(uid)).pw_name
    except KeyError:
        return uid


def _format(arguments: Parsed) -> str:
    form = arguments.text("format") or ""
    if form not in ("table", "json"):
        raise UsageError(f"--format {form!r}: it is table or json")
    return form


def _ps(arguments: Parsed, root: str) -> int:
    name, *options = arguments.positionals
    pids = command.processes(root, name)
    if _format(arguments) == "json":
        sys.stdout.write(json.dumps(pids) + "\n")
        return 0
    import subprocess

    try:
        done = subprocess.run(["ps", *(options or ["-ef"])], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Invalid(f"ps cannot list the processes: {error}", hint="--format json needs no ps") from None
    head, *lines = done.stdout.splitlines()
    if "PID" not in head.split():
        raise Invalid("the options of ps leave out the column PID")
    column = head.split().index("PID")
    sys.stdout.write(f"{head}\n" + "".join(f"{line}\n" for line in lines if int(line.split()[column]) in pids))
    return 0


_FEW = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
"""The capabilities that runc begins with, too."""


def _spec(arguments: Parsed, root: str) -> int:
    from sampan.runtime import defaults

    rootless = arguments.on("rootless")
    spec = defaults.base_spec(
        ["sh"],
        [f"PATH={defaults.PATH}", "TERM=xterm"],
        "/",
        hostname="sampan",
        rootless=rootless,
        capabilities=_FEW,
        terminal=True,
    )
    spec["ociVersion"] = "1.0.2"  # all that it uses: crun refuses what is later than itself
    spec["root"]["readonly"] = True
    spec["process"]["noNewPrivileges"] = True
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
    del spec["linux"]["cgroupsPath"]
    if rootless:
        for mount in spec["mounts"]:  # the one group that is mapped is not that of terminals
            mount["options"] = [option for option in mount["options"] if option != "gid=5"]
        spec["linux"]["namespaces"].append({"type": "user"})
        spec["linux"]["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        spec["linux"]["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    path = os.path.join(arguments.text("bundle") or ".", "config.json")
    try:
        with open(path, "x") as file:
            file.write(json.dumps(spec, indent="\t") + "\n")
    except FileExistsError:
        raise Conflict(f"{path} exists already") from None
    return 0


def _events(arguments: Parsed, root: str) -> int:
    from sampan.runtime import usage
    from sampan.runtime.cgroups import container

    (name,) = arguments.positionals
    place = state.find(root, name)
    seconds = _seconds(arguments.text("interval") or "")
    record = state.read(place)
    cgroup = container.found(record.cgroup)
    if not state.is_alive(record):
        raise Conflict(f"container {name} is not running")
    if arguments.on("stats"):
        _tell("stats", name, usage.usage(cgroup))
        return 0
    kills, due = container.oom_kills(cgroup), 0.0
    while True:
        alive = state.is_alive(record)
        before, kills = kills, container.oom_kills(cgroup)
        if kills > before:
            _tell("oom", name)
        if not alive:
            return 0
        if time.monotonic() >= due:
            _tell("stats", name, usage.usage(cgroup))
            due = time.monotonic() + seconds
        time.sleep(min(seconds, _GLANCE))


_GLANCE = 0.1
"""Seconds between two looks for a container's end, or for what was killed in it."""


def _tell(kind: str, name: str, data: object = None) -> None:
    sys.stdout.write(json.dumps({"type": kind, "id": name} | ({"data": data} if data else {})) + "\n")
    sys.stdout.flush()


def _seconds(text: str) -> float:
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        number = text.removesuffix(suffix)
        if number != text and number.replace(".", "", 1).isdigit() and float(number) > 0:
            return float(number) * factor
    raise UsageError(f"--interval {text!r}: write a number with ms, s or m")


_RESOURCES = (
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("cpu-share", "cpu", "shares"),
    ("cpuset-cpus", "cpu", "cpus"),
    ("cpuset-mems", "cpu", "mems"),
    ("memory", "memory", "limit"),
    ("memory-reservation", "memory", "reservation"),
    ("memory-swap", "memory", "swap"),
    ("pids-limit", "pids", "limit"),
)


def _update(arguments: Parsed, root: str) -> int:
    path = arguments.text("resources")
    resources = _object(path) if path else {}
    resources.pop("devices", None)  # engines send the whole list again; it was set at the start
    for flag, controller, key in _RESOURCES:
        if flag not in arguments:
            continue
        if flag.startswith("memory"):
            value: object = _bytes(arguments.text(flag) or "")
        elif flag.startswith("cpuset"):
            value = arguments.text(flag)
        else:
            value = arguments.number(flag)
        resources.setdefault(controller, {})[key] = value
    if not resources:
        raise UsageError("update needs at least one limit")
    command.update(root, arguments.positionals[0], resources)
    return 0


def _bytes(text: str) -> int:
    """Bytes, or with a unit: 64m, 1g."""
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].isalpha() else (text, "b")
    if unit not in "bkmgt" or not number.removeprefix("-").isdigit():
        raise UsageError(f"{text!r} is no amount of memory")
    return int(number) << 10 * "bkmgt".index(unit)


VERBS = {
    "events": _events,
    "features": _features,
    "list": _list,
    "ps": _ps,
    "spec": _spec,
    "update": _update,
}
SUMMARIES = {
    "create": "Make a container from a bundle; its program waits for start",
    "delete": "Forget a container that has ended",
    "events": "Tell what a container uses, and when its memory is used up, until it ends",
    "exec": "Run a further process in a container",
    "features": "Tell what this runtime can do (runtime-spec, features.md)",
    "kill": "Send a signal to a container (default: TERM)",
    "list": "List containers",
    "pause": "Stop all processes of a container where they are",
    "ps": "List the processes of a container",
    "resume": "Let the processes of a paused container go on",
    "run": "Make a container from a bundle, and run its program to the end",
    "spec": "Write a config.json to begin with",
    "start": "Let the program of a created container run",
    "state": "Tell the state of a container (runtime-spec, runtime.md)",
    "update": "Change the limits of a container",
}
