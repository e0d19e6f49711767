"""``sampan top``: the processes of a container, as the host sees them."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed
from sampan.errors import Invalid, Unavailable

COMMAND = Command(
    "CONTAINER [ps OPTIONS]",
    least=1,
    most=None,
    interspersed=False,
    examples=(("sampan top web -o pid,rss,args", "Other columns"),),
)


def main(arguments: Parsed, context: Context) -> int:
    from sampan.cli import output
    from sampan.containers import resources

    name, *options = arguments.positionals
    container = context.engine.records.find(name)
    numbers = set(resources.processes(container))
    titles, *lines = _ps(options or ["-ef"])
    words = titles.split()
    if "PID" not in words:
        raise Invalid("the ps options given leave out the column PID", hint="add pid to what follows -o")
    place, count = words.index("PID"), len(words)
    rows = [line.split(None, count - 1) for line in lines]
    own = [row for row in rows if len(row) == count and row[place].isdigit() and int(row[place]) in numbers]
    context.print(output.table(words, own))
    return 0


def _ps(options: list[str]) -> list[str]:
    """What ps(1) prints."""
    import os
    import subprocess

    environment = {**os.environ, "COLUMNS": "100000"}  # as wide as it takes, whatever the terminal
    try:
        done = subprocess.run(
            ["ps", *options], capture_output=True, text=True, errors="replace", env=environment, check=False
        )
    except FileNotFoundError:
        raise Unavailable("there is no ps on this machine", hint="Debian has it in the package procps") from None
    if done.returncode or not done.stdout:
        raise Invalid(f"ps {' '.join(options)}: {(done.stderr.strip().splitlines() or ['it failed'])[0]}")
    return done.stdout.splitlines()
