"""``sampan image``: what is done to all images, and what looks into one."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.store import selection


def prune(arguments: Parsed, context: Context) -> int:
    from sampan.cli import question
    from sampan.containers import pruning
    from sampan.containers.record import Containers
    from sampan.store import filters

    chosen = selection.parse(arguments.texts("filter"))
    dangling = filters.boolean(chosen, "dangling")
    everything = arguments.on("all") or dangling is False
    chosen.pop("dangling", None)
    which = "all images without at least one container associated to them" if everything else "all dangling images"
    if question.agreed(f"This will remove {which}.", force=arguments.on("force")):
        engine = context.engine
        containers = Containers(engine.database, engine.paths.containers)
        pruned = pruning.images(engine.images, engine.blobs, containers, chosen, everything=everything)
        question.report(context, {"Deleted Images:": pruned.removed}, question.free(context))
    return 0


COMMANDS = {
    "prune": (
        Command(
            "[OPTIONS]",
            (
                Flag("-a, --all", "Remove all unused images, not just dangling ones"),
                Flag("--filter filter", "Only those made before a moment (until=24h) or with a label", repeat=True),
                Flag("-f, --force", "Do not prompt for confirmation"),
            ),
            needs_userns=True,
        ),
        prune,
    ),
}
