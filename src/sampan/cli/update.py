"""``sampan update``: other limits, or another restart policy, for containers that there are."""

from sampan.cli import consumption
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed, UsageError

_FIELDS = {
    "blkio-weight": ("blkio_weight",),
    "cpu-period": ("period",),
    "cpu-quota": ("quota",),
    "cpu-rt-period": ("realtime_period",),
    "cpu-rt-runtime": ("realtime_runtime",),
    "cpu-shares": ("shares",),
    "cpus": ("period", "quota"),
    "cpuset-cpus": ("cpus",),
    "cpuset-mems": ("mems",),
    "memory": ("memory",),
    "memory-reservation": ("reservation",),
    "memory-swap": ("swap",),
    "pids-limit": ("pids",),
}
"""The flags that ``run`` has, too, and the fields of ``Limits`` that they set."""
COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        *(flag for flag in consumption.FLAGS if flag.long in _FIELDS),
        Flag("--restart string", "Restart policy: no, always, unless-stopped or on-failure[:N]"),
    ),
    least=1,
    most=None,
    later="--kernel-memory",
    details="What is given changes at once, also for containers that run, and holds for all further starts.",
    examples=(
        ("sampan update -m 1g --memory-swap 1g --cpus 2 web", "More memory and processors for a server that runs"),
        ("sampan update --restart unless-stopped web", "Let it come back when it ends by itself"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.containers import change

    given = [name for name in _FIELDS if name in arguments]
    policy = arguments.text("restart")
    if not given and not policy:
        raise UsageError("nothing to change was given", hint="sampan update --help lists what can be")
    wanted = {}
    if given:
        fields = consumption.changeable(arguments)
        wanted = {field: fields[field] for name in given for field in _FIELDS[name]}
    restart = None
    if policy:
        from sampan.containers import restarts

        restart = restarts.parse(policy)
    table = context.engine.records

    def update(name: str) -> None:
        for warning in change.change(table.find(name), table, wanted, restart):
            context.warn(warning)
        context.print(name)

    return context.each(arguments.positionals, update)
