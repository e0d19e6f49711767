"""``sampan history``: the steps that made an image."""

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.store import describe
from sampan.store.describe import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.listing import Columns

COMMAND = Command(
    "[OPTIONS] IMAGE",
    (
        Flag("--format string", listing.FORMAT),
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
    if not listing.identifiers(arguments, context, [_id(step, whole=whole) for step in steps]):
        shown = ("ID", "CreatedSince" if human else "CreatedAt", "CreatedBy", "Size", "Comment")
        listing.show(context, steps, _columns(whole=whole, human=human), shown, arguments.text("format"))
    return 0


def _columns(*, whole: bool, human: bool) -> "Columns":
    return {
        "ID": ("IMAGE", lambda step: _id(step, whole=whole)),
        "CreatedSince": ("CREATED", lambda step: output.ago(step.created)),
        "CreatedAt": ("CREATED AT", lambda step: step.created),
        "CreatedBy": ("CREATED BY", lambda step: _line(step.created_by, whole=whole)),
        "Size": ("SIZE", lambda step: output.size(step.size) if human else str(step.size)),
        "Comment": ("COMMENT", lambda step: step.comment),
    }


def _id(step: Step, *, whole: bool) -> str:
    return "<missing>" if step.image_id is None else step.image_id if whole else step.image_id.short


def _line(text: str, *, whole: bool) -> str:
    line = text.replace("\t", " ")
    return line if whole else output.shorten(line, _WIDTH)
