"""``sampan export``: a container's files as a tar."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    (Flag("-o, --output string", "Write to a file, instead of STDOUT"),),
    least=1,
    most=1,
    needs_userns=True,
    details="Volumes and what is mounted into the container are not in it.",
    examples=(("sampan export -o web.tar web", "All files of a container, running or not"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.cli.save import output
    from sampan.containers.commit import all_files
    from sampan.layers.write import write
    from sampan.snapshots.flatten import entries

    stores = context.engine.containers
    container = stores.containers.find(arguments.positionals[0])
    with all_files(container, stores.snapshots) as tree, output(arguments.text("output")) as sink:
        write(entries(tree), sink)
    return 0
