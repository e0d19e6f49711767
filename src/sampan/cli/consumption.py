"""The flags of ``run`` and ``create`` that say how much a container may use."""

from sampan.cli.flags import Flag
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.context import Context
    from sampan.cli.flags import Parsed
    from sampan.containers.options import Limits

_THROTTLES = ("device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops")
FLAGS = (
    Flag("--blkio-weight int", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
    Flag("--blkio-weight-device list", "Block IO weight (relative device weight)"),
    Flag("--cpu-period int", "Limit CPU CFS (Completely Fair Scheduler) period, in microseconds"),
    Flag("--cpu-quota int", "Limit CPU CFS (Completely Fair Scheduler) quota, in microseconds"),
    Flag("--cpu-rt-period int", "Limit CPU real-time period in microseconds"),
    Flag("--cpu-rt-runtime int", "Limit CPU real-time runtime in microseconds"),
    Flag("-c, --cpu-shares int", "CPU shares (relative weight)"),
    Flag("--cpus string", "Number of CPUs"),
    Flag("--cpuset-cpus string", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag("--cpuset-mems string", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag("--device-read-bps list", "Limit read rate (bytes per second) from a device"),
    Flag("--device-read-iops list", "Limit read rate (IO per second) from a device"),
    Flag("--device-write-bps list", "Limit write rate (bytes per second) to a device"),
    Flag("--device-write-iops list", "Limit write rate (IO per second) to a device"),
    Flag("--kernel-memory string", "Deprecated: kernels have no such limit any more"),
    Flag("-m, --memory string", "Memory limit"),
    Flag("--memory-reservation string", "Memory soft limit"),
    Flag("--memory-swap string", "Limit of memory and swap together: -1 for unlimited swap"),
    Flag("--memory-swappiness int", "Tune container memory swappiness (0 to 100; -1: as the machine)", -1),
    Flag("--oom-kill-disable", "Disable OOM Killer"),
    Flag("--oom-score-adj int", "Tune host's OOM preferences (-1000 to 1000)"),
    Flag("--pids-limit int", "Tune container pids limit (set -1 for unlimited)"),
    Flag("--shm-size string", "Size of /dev/shm"),
    Flag("--storage-opt list", "Storage options: size=BYTES, what the container may write"),
    Flag("--ulimit list", "Ulimit options"),
)


def read(arguments: "Parsed", context: "Context") -> "dict[str, Any]":
    """The fields of ``Options`` that these flags set."""
    fields: dict[str, Any] = {"limits": _limits(arguments, context)}
    if arguments.texts("storage-opt"):
        fields["storage_bytes"] = _storage_size(arguments.texts("storage-opt"))
    if arguments.text("shm-size"):
        fields["shm_bytes"] = _bytes(arguments, "shm-size")
    return fields


def changeable(arguments: "Parsed") -> "dict[str, Any]":
    """The fields of ``Limits`` that ``update`` has flags for, too; they may not fit together yet (``limits.check``)."""
    from sampan.containers import limits

    cpus = arguments.text("cpus")
    if cpus and (arguments.number("cpu-period") or arguments.number("cpu-quota")):
        raise Invalid("--cpus says the same as --cpu-period and --cpu-quota", hint="give the one or the others")
    swap = arguments.text("memory-swap")
    return {
        "memory": _bytes(arguments, "memory"),
        "swap": -1 if swap == "-1" else _bytes(arguments, "memory-swap"),
        "reservation": _bytes(arguments, "memory-reservation"),
        "shares": arguments.number("cpu-shares") or 0,
        "period": 100_000 if cpus else arguments.number("cpu-period") or 0,
        "quota": limits.parse_cpus(cpus) if cpus else arguments.number("cpu-quota") or 0,
        "cpus": _set("cpuset-cpus", arguments),
        "mems": _set("cpuset-mems", arguments),
        "blkio_weight": arguments.number("blkio-weight") or 0,
        "pids": max(0, arguments.number("pids-limit") or 0),
        "realtime_period": arguments.number("cpu-rt-period") or 0,
        "realtime_runtime": arguments.number("cpu-rt-runtime") or 0,
    }


def _limits(arguments: "Parsed", context: "Context") -> "Limits":
    from sampan.containers import limits
    from sampan.containers.options import Limits

    wanted = Limits(
        **changeable(arguments),
        oom_kill_disable=arguments.on("oom-kill-disable"),
        oom_score_adj=arguments.number("oom-score-adj"),
        ulimits=tuple(limits.parse_ulimit(text) for text in arguments.texts("ulimit")),
        swappiness=_swappiness(arguments),
        device_weights=_weights(arguments),
        throttles=_throttles(arguments),
    )
    settled, warnings = limits.clamp(limits.check(wanted))
    if arguments.text("kernel-memory"):
        warnings.append("--kernel-memory sets no limit: kernels have none of their own memory any more")
    if wanted.oom_kill_disable and not wanted.memory:
        warnings.append("--oom-kill-disable without --memory lets the container use up all of the machine's")
    for warning in warnings:
        context.warn(warning)
    return settled


def _storage_size(texts: list[str]) -> int:
    from sampan.containers.limits import parse_bytes

    size = 0
    for text in texts:
        name, equals, value = text.partition("=")
        if name != "size" or not equals:
            raise Invalid(f"invalid --storage-opt {text!r}", hint="size=BYTES is the only one, for example size=10g")
        size = parse_bytes(value, "--storage-opt size")
    if not size:
        raise Invalid("--storage-opt size is to be more than nothing", hint="for example size=10g")
    return size


def _bytes(arguments: "Parsed", name: str) -> int:
    from sampan.containers.limits import parse_bytes

    text = arguments.text(name)
    return parse_bytes(text, f"--{name}") if text else 0


def _set(name: str, arguments: "Parsed") -> str:
    text = arguments.text(name) or ""
    if text and not all(part and part.replace("-", "", 1).isdigit() for part in text.split(",")):
        raise Invalid(f"invalid --{name} {text!r}", hint="numbers and ranges, for example 0-3,6")
    return text


def _swappiness(arguments: "Parsed") -> int | None:
    value = arguments.number("memory-swappiness")
    return None if value == -1 else value


def _weights(arguments: "Parsed") -> tuple[tuple[str, int], ...]:
    texts = arguments.texts("blkio-weight-device")
    if not texts:
        return ()
    from sampan.containers import blocks

    return tuple(blocks.parse_weight(text) for text in texts)


def _throttles(arguments: "Parsed") -> tuple[tuple[str, str, int], ...]:
    given = [(name, text) for name in _THROTTLES for text in arguments.texts(name)]
    if not given:
        return ()
    from sampan.containers import blocks

    return tuple(blocks.parse_throttle(name, text) for name, text in given)
