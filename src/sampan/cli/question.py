"""The question that Docker asks before it removes many things at once."""

import sys

from sampan.cli import output
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sampan.cli.context import Context


def agreed(warning: str, *, force: bool) -> bool:
    """Whether the user agrees to what the ``warning`` says; ``force`` is his answer in advance.

    Raises Invalid where nobody answers.
    """
    if force:
        return True
    sys.stdout.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.stdout.write("\n")
        raise Invalid("nobody answered, so nothing was removed", hint="-f removes without a question")
    return answer.strip().lower() in ("y", "yes")


def report(context: "Context", removed: "Mapping[str, Sequence[str]]", freed: int) -> None:
    """Says what was removed, under the title of each kind, and the bytes that this freed."""
    for title, names in removed.items():
        if names:
            context.print("\n".join([title, *names, ""]))
    context.print(f"Total reclaimed space: {output.size(freed)}")


def free(context: "Context") -> int:
    """Collects what nothing keeps any more, and parts of broken transfers; gives the bytes that this freed."""
    freed = context.engine.collect(half_done=True)
    if freed is None:
        context.warn("another operation is at work: the space is freed when the next one ends")
    return freed or 0
