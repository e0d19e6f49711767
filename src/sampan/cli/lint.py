"""``sampan lint``: what a Dockerfile says that somebody will regret."""

import os
import sys

from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.source import Source

COMMAND = Command(
    "[OPTIONS] [PATH | -]...",
    (
        Flag("--build-arg list", "Set build-time variables"),
        Flag("-f, --file string", 'Name of the Dockerfile (default: "PATH/Dockerfile"); - is standard input'),
        Flag("--format string", "Format the output: text, json or sarif", "text"),
        Flag("--rules", "List the checks"),
        Flag("--target string", "Look at this build stage and what it needs only"),
    ),
    most=None,
    details="A PATH is a Dockerfile or a directory with one. Docker's checks by their names, and more for people who "
    "put Python into images; --rules lists them. A comment # check=skip=NAME at the top of the file, or right above an "
    "instruction, leaves a check out. The exit code is 1 if there are warnings or errors; notes alone are no failure.",
    examples=(
        ("sampan lint", "Look at the Dockerfile in this directory"),
        ("sampan lint --format sarif > dockerfile.sarif", "For programs that show findings where the code is reviewed"),
    ),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.build.dockerfile.lint import lint
    from sampan.cli import buildargs, calls
    from sampan.cli.findings import Checked

    if arguments.on("rules"):
        return _rules(context)
    form = arguments.text("format") or "text"
    if form not in calls.FORMATS:
        raise Invalid(f"invalid --format {form!r}", hint="text, json or sarif")
    build_args = buildargs.parse(arguments.texts("build-arg"))
    checked: list[Checked] = []

    def look(path: str) -> None:
        source = _source(path, arguments.text("file"))
        around = calls.surroundings(source, build_args, {}, arguments.text("target"), context)
        checked.append(Checked(source, lint(source.data, source.filename, around)))

    code = context.each(arguments.positionals or ["."], look)
    return max(code, calls.told(form, checked, context)) if checked else code


def _rules(context: Context) -> int:
    from sampan.build.dockerfile import rules
    from sampan.cli import output

    rows = [[rule.name, rule.level, rule.sentence] for rule in rules.ALL]
    context.print(output.table(("CHECK", "LEVEL", "WHAT IT SAYS"), rows))
    return 0


def _source(path: str, file: str | None) -> "Source":
    """``path`` is the build context, or the Dockerfile itself in its context."""
    from sampan.build.context import open_context, read_dockerfile
    from sampan.cli.source import Source

    if path == "-":
        return Source(sys.stdin.buffer.read(), "Dockerfile", None)
    if os.path.isfile(path) and file is None:
        path, file = os.path.dirname(path) or ".", path
    files = open_context(path)
    if file == "-":
        return Source(sys.stdin.buffer.read(), "Dockerfile", files)
    absolute = os.path.abspath(file if file is not None else os.path.join(path, "Dockerfile"))
    inside = os.path.relpath(absolute, files.root)
    name = absolute if inside.startswith("../") else inside
    shown = os.path.relpath(absolute)
    shown = absolute if shown.startswith("../") else shown
    return Source(read_dockerfile(files.root, name), shown, open_context(path, name))
