"""``sampan network``: bridge networks of one's own, in which containers know each other by name."""

from sampan.cli import listing, output
from sampan.cli.context import Context
from sampan.cli.flags import Command, Flag, Parsed
from sampan.errors import Conflict, Invalid, NotFound, Unavailable, Unsupported
from sampan.networks import bridge
from sampan.networks.record import BUILT_IN, Made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sampan.cli.listing import Columns
    from sampan.containers.record import Container

_LATER = "they are for swarms, of which there are none here"
_FOREVER = "0001-01-01T00:00:00Z"


def create(arguments: Parsed, context: Context) -> int:
    from sampan.containers import logs
    from sampan.linux import netlink
    from sampan.networks import record, subnets
    from sampan.store.database import transaction

    (name,) = arguments.positionals
    engine = context.engine
    if engine.rootless:
        raise Unavailable("networks of one's own take root", hint="an ordinary user's containers have one each")
    if arguments.text("driver") != "bridge":
        raise Unsupported(f"the network driver {arguments.text('driver')!r} is not supported", hint="bridge is")
    if arguments.on("ipv6") or not arguments.on("ipv4"):
        flag = "--ipv6" if arguments.on("ipv6") else "--ipv4=false"
        raise Unsupported(f"{flag}: containers have no IPv6 addresses here")
    options = dict(text.partition("=")[::2] for text in arguments.texts("opt"))
    unknown = options.keys() - {record.DEVICE_OPTION}
    if unknown:
        raise Unsupported(f"--opt {min(unknown)} is not supported", hint=f"{record.DEVICE_OPTION} is")
    identifier, (subnet, gateway, part) = record.new_id(), _addresses(arguments)
    made = record.Made(
        identifier,
        record.check_name(name),
        logs.timestamp(),
        bridge.Network(
            name, record.device(identifier, options), subnet, gateway, part, internal=arguments.on("internal")
        ),
        tuple(text.partition("=")[::2] for text in arguments.texts("label")),
        tuple(options.items()),
        arguments.on("attachable"),
    )
    with transaction(engine.database), netlink.Socket() as route:  # so that no two are given the same addresses
        others = [each.network.subnet for each in engine.networks.all()]
        network, prefix = subnets.choose(route, subnet, others)
        settled = f"{'.'.join(map(str, network))}/{prefix}"
        engine.networks.add(made._replace(network=made.network._replace(subnet=settled)))
    context.print(identifier)
    return 0


def _addresses(arguments: Parsed) -> tuple[str, str, str]:
    """The subnet, the gateway and the range of addresses that are given out, checked against each other."""
    from ipaddress import IPv4Address, IPv4Network

    given = [arguments.texts(name) for name in ("subnet", "gateway", "ip-range")]
    if any(len(texts) > 1 for texts in given):
        raise Unsupported("a network has one --subnet, --gateway and --ip-range here")
    subnet, gateway, part = (texts[0] if texts else "" for texts in given)
    if (gateway or part) and not subnet:
        raise Invalid("--gateway and --ip-range take a --subnet")
    try:
        whole = IPv4Network(subnet or "0.0.0.0/0")
        if gateway and (IPv4Address(gateway) not in whole or IPv4Address(gateway) == whole.network_address):
            raise Invalid(f"--gateway {gateway} is not an address of {subnet}")
        if part and not IPv4Network(part).subnet_of(whole):
            raise Invalid(f"--ip-range {part} is not a part of {subnet}")
    except ValueError as error:
        raise Invalid(f"{error}", hint="only IPv4 is supported, for example 10.1.0.0/16") from None
    return subnet, gateway, part


def ls(arguments: Parsed, context: Context) -> int:
    from sampan.store import filters

    chosen = filters.parse(arguments.texts("filter"), ("name", "id", "driver", "label", "dangling", "type", "scope"))
    found = [each for each in _all(context) if _matches(each, chosen, context)]
    whole = arguments.on("no-trunc")
    if arguments.on("quiet"):
        for each in found:
            context.print(each.id if whole else each.id[:12])
    else:
        shown = ("ID", "Name", "Driver", "Scope")
        listing.show(context, found, _columns(whole=whole), shown, arguments.text("format"))
    return 0


def _matches(made: Made, chosen: "Any", context: Context) -> bool:
    from sampan.store import filters

    kind = "builtin" if made.name in BUILT_IN else "custom"
    tests: dict[str, Callable[[str], bool]] = {
        "name": lambda value: value in made.name,
        "id": made.id.startswith,
        "driver": lambda value: value == _driver(made),
        "type": lambda value: value == kind,
        "scope": lambda value: value == "local",
    }
    for key, test in tests.items():
        if key in chosen and not any(test(value) for value in chosen[key]):
            return False
    dangling = filters.boolean(chosen, "dangling")
    if dangling is not None and dangling != (kind == "custom" and not _members(made, context)):
        return False
    return filters.labels_match(chosen, dict(made.labels))


def inspect(arguments: Parsed, context: Context) -> int:
    return listing.described(arguments, context, lambda name: _described(_find(name, context), context))


def rm(arguments: Parsed, context: Context) -> int:
    def remove(name: str) -> None:
        try:
            _remove(_find(name, context), context)
        except NotFound:
            if not arguments.on("force"):
                raise
        context.print(name)

    return context.each(arguments.positionals, remove)


def connect(arguments: Parsed, context: Context) -> int:
    from sampan.containers import places
    from sampan.containers.options import Joining
    from sampan.networks import subnets

    name, container = arguments.positionals
    made = _bridged(name, context)
    address = arguments.text("ip") or ""
    if made.name in BUILT_IN and (address or arguments.texts("alias")):
        raise Conflict("--ip and --alias are for networks that you made")
    subnets.check_address(address, made.network.subnet, made.network.gateway)
    joining = Joining(made.name, tuple(arguments.texts("alias")), address)
    stores = context.engine.containers
    places.connect(stores.containers.find(container), joining, made.network, stores)
    return 0


def disconnect(arguments: Parsed, context: Context) -> int:
    from sampan.containers import places

    name, container = arguments.positionals
    stores = context.engine.containers
    try:
        places.disconnect(stores.containers.find(container), _bridged(name, context).network, stores)
    except NotFound:
        if not arguments.on("force"):
            raise
    return 0


def _bridged(name: str, context: Context) -> Made:
    """A network that containers can be taken into."""
    made = _find(name, context)
    if context.engine.rootless:
        raise Unavailable("networks of one's own take root", hint="an ordinary user's containers have one each")
    if _driver(made) != "bridge":
        raise Conflict(f"containers cannot be taken into network {made.name}, nor out of it")
    return made


def prune(arguments: Parsed, context: Context) -> int:
    import time

    from sampan.cli import question
    from sampan.containers import pruning
    from sampan.store import filters

    chosen = filters.parse(arguments.texts("filter"), pruning.FILTERS)
    warning = "This will remove all custom networks not used by at least one container."
    if question.agreed(warning, force=arguments.on("force")):
        removed = pruning.networks(context.engine.containers, chosen, time.time())
        if removed:
            context.print("\n".join(["Deleted Networks:", *removed, ""]))
    return 0


def _remove(made: Made, context: Context) -> None:
    if made.name in BUILT_IN:
        raise Conflict(f"{made.name} is a pre-defined network and cannot be removed")
    members = [each.name for each in _members(made, context) if each.state().status == "running"]
    if members:
        raise Conflict(f"network {made.name} has containers in it: {', '.join(sorted(members))}")
    bridge.remove(context.engine.paths.networks, made.network)
    context.engine.networks.forget(made)


def _members(made: Made, context: Context) -> "list[Container]":
    from sampan.containers import places

    return places.members(made.name, context.engine.containers)


def _all(context: Context) -> list[Made]:
    built_in = [Made(f"{name:0<64}".encode().hex()[:64], name, _FOREVER, bridge.DEFAULT) for name in BUILT_IN]
    return sorted((*built_in, *context.engine.networks.all()), key=lambda made: made.name)


def _find(name: str, context: Context) -> Made:
    built_in = next((made for made in _all(context) if name in (made.name, made.id) and made.name in BUILT_IN), None)
    return built_in or context.engine.networks.find(name)


def _driver(made: Made) -> str:
    return {"none": "null", "host": "host"}.get(made.name, "bridge")


def _columns(*, whole: bool) -> "Columns":
    return {
        "ID": ("NETWORK ID", lambda made: made.id if whole else made.id[:12]),
        "Name": ("NAME", lambda made: made.name),
        "Driver": ("DRIVER", _driver),
        "Scope": ("SCOPE", lambda made: "local"),
        "IPv4": ("IPV4", lambda made: "true"),
        "IPv6": ("IPV6", lambda made: "false"),
        "Internal": ("INTERNAL", lambda made: str(made.network.internal).lower()),
        "Labels": ("LABELS", lambda made: ",".join(f"{key}={value}" for key, value in made.labels)),
        "Label": ("", lambda made: lambda label: dict(made.labels).get(label, "")),
        "CreatedAt": ("CREATED AT", lambda made: output.moment(made.created)),
    }


def _described(made: Made, context: Context) -> "dict[str, Any]":
    """A network as the Docker Engine API describes it (API 1.43, Network)."""
    from sampan.networks.endpoints import Files

    network = made.network
    config: dict[str, str] = {"Subnet": network.subnet} if network.subnet else {}
    config |= {"IPRange": network.range} if network.range else {}
    config |= {"Gateway": _gateway(network)} if network.subnet else {}
    names = {each.id: each.name for each in context.engine.records.all()}
    living = Files(context.engine.paths.networks, network.name).all() if _driver(made) == "bridge" else ()
    return {
        "Name": made.name,
        "Id": made.id,
        "Created": made.created,
        "Scope": "local",
        "Driver": _driver(made),
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": {}, "Config": [config] if config else []},
        "Internal": network.internal,
        "Attachable": made.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            identifier: {
                "Name": names.get(identifier, ""),
                "MacAddress": endpoint.mac,
                "IPv4Address": f"{endpoint.address}/{endpoint.prefix}",
                "IPv6Address": "",
            }
            for identifier, endpoint in living
            if endpoint.is_alive()
        },
        "Options": dict(made.options),
        "Labels": dict(made.labels),
    }


def _gateway(network: bridge.Network) -> str:
    from ipaddress import IPv4Network

    return network.gateway or str(IPv4Network(network.subnet)[1])


_REFUSED = {
    "--ingress": _LATER,
    "--config-from": _LATER,
    "--config-only": _LATER,
    "--scope": _LATER,
    "--aux-address": "addresses are given out by chance; --ip-range keeps others free",
    "--ipam-driver": "there is no other than the default",
    "--ipam-opt": "the default one has no options",
}
COMMANDS = {
    "create": (
        Command(
            "[OPTIONS] NETWORK",
            (
                Flag("--attachable", "Enable manual container attachment"),
                Flag("-d, --driver string", "Driver to manage the Network", "bridge"),
                Flag("--gateway list", "IPv4 Gateway for the subnet"),
                Flag("--internal", "Restrict external access to the network"),
                Flag("--ip-range list", "Allocate container ip from a sub-range"),
                Flag("--ipv4", "Enable IPv4 address assignment", True),
                Flag("--ipv6", "Enable IPv6 address assignment (there is none here)"),
                Flag("--label list", "Set metadata on a network"),
                Flag("-o, --opt list", "Set driver specific options"),
                Flag("--subnet list", "Subnet in CIDR format that represents a network segment"),
            ),
            least=1,
            most=1,
            refused=_REFUSED,
            examples=(
                ("sampan network create app", "Containers that run with --network app find each other by name"),
                ("sampan network create --internal --subnet 10.1.0.0/24 db", "One that leads nowhere else"),
            ),
        ),
        create,
    ),
    "connect": (
        Command(
            "[OPTIONS] NETWORK CONTAINER",
            (
                Flag("--alias list", "Add network-scoped alias for the container"),
                Flag("--ip string", 'IPv4 address (e.g., "172.30.100.104")'),
            ),
            least=2,
            most=2,
            refused={
                "--driver-opt": "the bridge has no options for a container",
                "--gw-priority": "the network that was joined first leads out",
                "--ip6": "containers have no IPv6 addresses here",
                "--link": "links are deprecated: containers of one network find each other by name",
                "--link-local-ip": "containers have no link-local addresses here",
            },
        ),
        connect,
    ),
    "disconnect": (
        Command(
            "[OPTIONS] NETWORK CONTAINER",
            (Flag("-f, --force", "No error for a container that is not in the network"),),
            least=2,
            most=2,
        ),
        disconnect,
    ),
    "ls": (
        Command(
            "[OPTIONS]",
            (
                Flag(
                    "-f, --filter filter", "Filter output: name=, id=, driver=, label=, dangling=, type=", repeat=True
                ),
                Flag("--format string", listing.FORMAT),
                Flag("--no-trunc", "Do not truncate the output"),
                Flag("-q, --quiet", "Only display network IDs"),
            ),
        ),
        ls,
    ),
    "inspect": (
        Command(
            "[OPTIONS] NETWORK [NETWORK...]",
            (
                Flag("-f, --format string", listing.TEMPLATE),
                Flag("-v, --verbose", "Verbose output for diagnostics (there is no more to say)"),
            ),
            least=1,
            most=None,
        ),
        inspect,
    ),
    "rm": (
        Command(
            "[OPTIONS] NETWORK [NETWORK...]",
            (Flag("-f, --force", "Do not error if the network does not exist"),),
            least=1,
            most=None,
        ),
        rm,
    ),
    "prune": (
        Command(
            "[OPTIONS]",
            (
                Flag("--filter filter", "Only those that fit: label=KEY, label!=KEY=VALUE, until=", repeat=True),
                Flag("-f, --force", "Do not prompt for confirmation"),
            ),
        ),
        prune,
    ),
}
