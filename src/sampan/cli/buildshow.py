"""How a build is shown: what its steps are called, and in which of the styles of ``--progress``."""

from __future__ import annotations

import os
import sys

from sampan.cli.context import Context
from sampan.cli.flags import Parsed
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.build.graph import Graph, Step
    from sampan.cli.raw import Raw
    from sampan.cli.steps import Live, Plain
    from sampan.events import Event, Report

    Display = Plain | Live | Raw


def labels_of(graphs: Sequence[Graph]) -> list[str]:
    """What the steps of a build are called; what several platforms share, by the first."""
    from sampan.build.solve import distinct

    targets = [graph.target for graph in graphs]
    if len(graphs) == 1:
        return labels(distinct(*targets))
    found: list[str] = []
    for number, graph in enumerate(graphs, 1):
        found += labels(distinct(*targets[:number])[len(found) :], str(graph.config.platform))
    return found


def labels(steps: Sequence[Step], platform: str = "") -> list[str]:
    """What the steps are called, as BuildKit does: the platform, the stage, the place in it, and the instruction."""
    totals: dict[str, int] = {}
    for step in steps:
        totals[step.stage] = totals.get(step.stage, 0) + 1
    seen: dict[str, int] = {}
    found = []
    for step in steps:
        seen[step.stage] = seen.get(step.stage, 0) + 1
        stage = "".join(f"{word} " for word in (platform, step.stage) if word)
        found.append(f"[{stage}{seen[step.stage]}/{totals[step.stage]}] {' '.join(step.text.split())}")
    return found


def note_result(display: Display, image_id: str, names: Sequence[str]) -> None:
    display.note(f"writing image {image_id}")
    for name in names:
        display.note(f"naming to {name}")


def tell_findings(text: str, style: str) -> None:
    """Tells what was found doubtful in the Dockerfile (``findings.short``)."""
    if style == "rawjson":
        from sampan.cli.raw import Raw
        from sampan.events import Warned

        raw = Raw(sys.stderr, ())
        for line in text.splitlines()[1:]:
            raw(Warned(line.removeprefix(" - ")))
    elif text and style != "quiet":
        print(f"\n{text}", file=sys.stderr)


def style(arguments: Parsed, context: Context) -> str:
    """The style of ``--progress`` or, as with buildx, of BUILDKIT_PROGRESS."""
    told = [arguments.text("progress") or "auto", os.environ.get("BUILDKIT_PROGRESS") or "auto"]
    style = told[told[0] == "auto"]
    if style not in ("auto", "plain", "tty", "quiet", "none", "rawjson"):
        raise Invalid(f"invalid --progress {style!r}", hint="auto, plain, tty, quiet, none or rawjson")
    if context.quiet or style == "none":
        return "quiet"
    if style == "auto":
        return "tty" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    return style


def display(style: str, called: Sequence[str]) -> Display:
    if style == "rawjson":
        from sampan.cli.raw import Raw

        return Raw(sys.stderr, called)
    from sampan.cli.steps import Live, Plain

    if style == "plain":
        return Plain(sys.stderr, called)
    return Live(sys.stderr, called, columns if style == "tty" else None)


def columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def teller(context: Context) -> Report:
    """Says each warning once, for however many platforms there is reason to."""
    from sampan.events import Warned

    heard: set[str] = set()

    def tell(event: Event) -> None:
        if isinstance(event, Warned) and event.message not in heard:
            heard.add(event.message)
            context.warn(event.message)

    return tell
