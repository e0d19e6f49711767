"""``sampan logout``: forgets the credentials for a registry."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed

COMMAND = Command("[SERVER]", most=1, details="Without SERVER it is Docker Hub.")


def main(arguments: Parsed, context: Context) -> int:
    from sampan.cli.login import server
    from sampan.registry import credentials

    registry = server(arguments.positionals[0] if arguments.positionals else "")
    there = credentials.forget(registry)
    context.print(f"{'Removing login credentials for' if there else 'Not logged in to'} {registry}")
    return 0
