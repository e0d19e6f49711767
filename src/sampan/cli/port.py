"""``sampan port``: where a container's published ports are reached."""

from sampan.cli.context import Context
from sampan.cli.flags import Command, Parsed
from sampan.errors import NotFound

COMMAND = Command("CONTAINER [PRIVATE_PORT[/PROTO]]", least=1, most=2)


def main(arguments: Parsed, context: Context) -> int:
    name, *wanted = arguments.positionals
    container = context.engine.records.find(name)
    ports = sorted(container.state().ports, key=lambda port: (port[2], port[3], port[0]))
    found = [(f"{inside}/{protocol}", _address(host, outside)) for host, outside, inside, protocol in ports]
    if not wanted:
        for port, address in found:
            context.print(f"{port} -> {address}")
        return 0
    port = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
    addresses = [address for each, address in found if each == port]
    if not addresses:
        raise NotFound(f"no public port '{port}' published for {name}")
    for address in addresses:
        context.print(address)
    return 0


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host or '0.0.0.0'}:{port}"
