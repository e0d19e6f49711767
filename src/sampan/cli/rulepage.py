"""docs/lint.md, made from the rules themselves: ``python -m sampan.cli.rulepage > docs/lint.md``."""

from sampan.build.dockerfile import rules
from sampan.build.dockerfile.rules import Rule

_HEAD = """\
# What lint says of a Dockerfile

The tables are made from the program's own rules by `python -m sampan.cli.rulepage > docs/lint.md`; do not edit them.

    sampan lint                            # the Dockerfile in this directory
    sampan lint -f docker/prod.Dockerfile .
    sampan lint api worker/Dockerfile      # several; a path is a Dockerfile or a directory with one
    sampan lint --rules                    # these tables in short
    sampan lint --format json              # as docker build --call=check,format=json, with "level" and "fix"
    sampan lint --format sarif             # SARIF 2.1.0, for code review and editors
    sampan build --check .                 # the same from build, with its --build-arg and --build-context

Nothing is built or pulled. Base images count as far as the store holds them; where one is not there, a variable that it
may set is not called undefined unless it looks like a slip. Without `--target` all stages are looked at.

The exit code is 1 if there are errors or warnings, or if the build would fail; notes alone are no failure. After a
build Docker's checks and errors are told in a line each.

In a Dockerfile, at the top:

    # check=skip=JSONArgsRecommended,RunsAsRoot
    # check=skip=all
    # check=error=true                     findings make the build fail
    # check=experimental=all
    # check=skip=RunsAsRoot;error=true

Right above an instruction the same comment counts for that instruction alone. `--build-arg
BUILDKIT_DOCKERFILE_CHECK=skip=…` replaces what the file says at its top. What looks like a credential is shown as
stars.

## Docker's checks

Names, wording and meaning are [Docker's](https://docs.docker.com/reference/build-checks/).

{docker}

¹ only where `check=experimental=` asks for it.

## Checks for people who put Python into images

These are told by `lint` and `build --check`; after a build only errors are.

{python}
"""


def page() -> str:
    """The whole page."""
    return _HEAD.format(docker=_table(rules.DOCKER), python=_table(rules.PYTHON))


def _table(found: tuple[Rule, ...]) -> str:
    lines = ["| check | level | what it says | what to do |", "|---|---|---|---|"]
    for rule in found:
        name = f"[{rule.name}]({rule.url})" if rule.url else rule.name
        cells = (name + ("¹" if rule.experimental else ""), rule.level, rule.sentence, rule.fix)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
