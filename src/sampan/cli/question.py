"""The question that Docker asks before it removes many things at once."""

import sys

from sampan.errors import Invalid


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
