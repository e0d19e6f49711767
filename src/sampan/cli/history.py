"""``sampan history``: the steps that made an image."""

from sampan.cli import output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.store import describe
from sampan.store.describe import Step

COMMAND = Command(
    "[OPTIONS] IMAGE",
    (
        Flag("--format string", "Format the output: json"),
        Flag("-H, --human", "Print sizes and dates in human readable format", default=True),
        Flag("--no-trunc", "Don't truncate output"),
        Flag("-q, --quiet", "Only show image IDs"),
    ),
    least=1,
    most=1,
    later="--platform",
)
_WIDTH = 45  # of the column CREATED BY


def main(arguments: Parsed, context: Context) -> int:
    engine = context.engine
    steps = describe.history(engine.images.find(arguments.positionals[0]), engine.blobs, engine.snapshots.size)
    whole, human = arguments.on("no-trunc"), arguments.on("human")
    template = arguments.text("format")
    lines = [_fields(step, whole=whole, human=human) for step in steps]
    if template is not None:
        for line in lines:
            context.print(output.formatted(line, template))
    elif arguments.on("quiet"):
        for line in lines:
            context.print(line["ID"])
    else:
        created = "CreatedSince" if human else "CreatedAt"
        headers = ("IMAGE", "CREATED" if human else "CREATED AT", "CREATED BY", "SIZE", "COMMENT")
        columns = ("ID", created, "CreatedBy", "Size", "Comment")
        context.print(output.table(headers, [[line[column] for column in columns] for line in lines]))
    return 0


def _fields(step: Step, *, whole: bool, human: bool) -> dict[str, str]:
    identifier = "<missing>" if step.image_id is None else step.image_id if whole else step.image_id.short
    return {
        "ID": identifier,
        "CreatedSince": output.ago(step.created),
        "CreatedAt": step.created,
        "CreatedBy": step.created_by if whole else output.shorten(step.created_by, _WIDTH),
        "Size": output.size(step.size) if human else str(step.size),
        "Comment": step.comment,
    }
