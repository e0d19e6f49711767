"""``sampan container prune``."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed


def prune(arguments: Parsed, context: Context) -> int:
    import time

    from sampan.cli import question
    from sampan.containers import pruning
    from sampan.store import filters

    chosen = filters.parse(arguments.texts("filter"), pruning.FILTERS)
    if question.agreed("This will remove all stopped containers.", force=arguments.on("force")):
        pruned = pruning.containers(context.engine.containers, chosen, time.time())
        question.report(context, {"Deleted Containers:": pruned.removed}, pruned.freed)
    return 0


COMMANDS = {
    "prune": (
        Command(
            "[OPTIONS]",
            (
                Flag("--filter filter", "Only those made before a moment (until=24h) or with a label", repeat=True),
                Flag("-f, --force", "Do not prompt for confirmation"),
            ),
            needs_userns=True,
            runs_nothing=True,
        ),
        prune,
    ),
}
