"""``sampan rmi``: takes names away, and images with their last names."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.containers.record import Containers
from sampan.store import removal
from sampan.store.removal import User

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    (Flag("-f, --force", "Force removal of the image"),),
    least=1,
    most=None,
    needs_userns=True,
    runs_nothing=True,
    later="--no-prune --platform",
)


def main(arguments: Parsed, context: Context) -> int:
    engine = context.engine
    containers = Containers(engine.database, engine.paths.containers)

    def remove(text: str) -> None:
        image = engine.images.find(text)
        users = [User(user.name, user.state().alive) for user in containers.of_image(image.id)]
        plan = removal.plan(engine.images, text, image, users, force=arguments.on("force"))
        removal.perform(plan, engine.images)
        for name in plan.names:
            context.print(f"Untagged: {name.reference.familiar()}")
        if plan.image:
            context.print(f"Deleted: {plan.image.id}")

    code = context.each(arguments.positionals, remove)
    engine.collect()
    return code
