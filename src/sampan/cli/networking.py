"""The flags of ``run`` and ``create`` that say how a container is connected, and what it is called."""

from sampan.cli.flags import Flag
from sampan.errors import Conflict, Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sampan.cli.context import Context
    from sampan.cli.flags import Parsed
    from sampan.containers.options import Joining
    from sampan.networks.record import Made

FLAGS = (
    Flag("--add-host list", "Add a custom host-to-IP mapping (host:ip)"),
    Flag("--dns list", "Set custom DNS servers"),
    Flag("--dns-option list", "Set DNS options", alias="dns-opt"),
    Flag("--dns-search list", "Set custom DNS search domains"),
    Flag("--domainname string", "Container NIS domain name"),
    Flag("--expose list", "Expose a port or a range of ports"),
    Flag("-h, --hostname string", "Container host name"),
    Flag("--ip string", "IPv4 address (e.g., 172.30.100.104), in a network that you made"),
    Flag("--mac-address string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag(
        "--network list",
        "Connect a container to a network: bridge (default), host, none, container:NAME or one that you made",
        alias="net",
    ),
    Flag("--network-alias list", "Add network-scoped alias for the container", alias="net-alias"),
    Flag("-p, --publish list", "Publish a container's port(s) to the host"),
    Flag("-P, --publish-all", "Publish all exposed ports to random ports"),
)
_MODES = ("bridge", "host", "none")
_MULTICAST = 1
_BYTES = 6


def read(arguments: "Parsed", context: "Context") -> "dict[str, Any]":
    """The fields of ``Options`` that these flags set."""
    joined = _joined(arguments, context)
    network = joined[0].network
    ports = tuple(arguments.texts("publish"))
    if ports:
        from sampan.networks import ports as port_language

        if not _is_bridge(network):
            raise Conflict(f"ports cannot be published with --network {_shown(network, arguments)}")
        for text in ports:
            port_language.parse(text)
        _check_leads_out(network, context)
    hostname = arguments.text("hostname") or ""
    if hostname and arguments.text("uts") == "host":
        raise Conflict("--hostname is not for a container that has the host's names (--uts host)")
    if network.startswith("container:"):
        _check_shared(arguments)
        hostname = _shared_hostname(network, context)
    return {
        "network": network,
        "networks": () if not _is_bridge(network) or joined == (type(joined[0])("bridge"),) else joined,
        "hostname": _checked_hostname(hostname),
        "domainname": arguments.text("domainname") or "",
        "hosts": tuple(_host(text, network, context) for text in arguments.texts("add-host")),
        "dns": (tuple(map(_server, arguments.texts("dns"))), *_words(arguments, "dns-search", "dns-option")),
        "ports": ports,
    }


def exposed(arguments: "Parsed", network: str, image: "Sequence[str]", context: "Context") -> tuple[str, ...]:
    """The ports that ``-P`` publishes: each that the image or ``--expose`` names, on a free port of the host."""
    from sampan.networks import ports as port_language

    given = arguments.texts("expose")
    for text in given:
        if ":" in text:
            raise Invalid(f"invalid --expose {text!r}", hint="a port or a range, without the host's: 80, 80/udp, 80-90")
        port_language.parse(text)
    if not arguments.on("publish-all"):
        return ()
    if not _is_bridge(network):
        raise Conflict(f"ports cannot be published with --network {_shown(network, arguments)}")
    _check_leads_out(network, context)
    return tuple(dict.fromkeys((*image, *given)))


def _check_leads_out(network: str, context: "Context") -> None:
    if network not in _MODES and context.engine.networks.find(network).network.internal:
        raise Conflict(
            f"ports cannot be published with --network {network}, which is internal",
            hint="name a network first that is not, and this one with a second --network",
        )


def _is_bridge(network: str) -> bool:
    return network not in ("host", "none") and not network.startswith("container:")


def _shown(network: str, arguments: "Parsed") -> str:
    """A network as it was asked for."""
    return next(iter(arguments.texts("network")), network)


def _joined(arguments: "Parsed", context: "Context") -> "tuple[Joining, ...]":
    """Where the container is, first of all the network that its mode is named after."""
    from sampan.containers.options import Joining

    joined = [_joining(text, context) for text in arguments.texts("network")] or [Joining("bridge")]
    for joining in joined[1:]:
        if not (_is_bridge(joining.network) and _is_bridge(joined[0].network)):
            raise Conflict(f"--network {joined[0].network} and --network {joining.network} contradict each other")
    if len({joining.network for joining in joined}) < len(joined):
        raise Invalid("the same --network is given twice")
    first = joined[0]
    first = first._replace(
        aliases=(*first.aliases, *arguments.texts("network-alias")),
        address=arguments.text("ip") or first.address,
        mac=_checked_mac(arguments.text("mac-address") or first.mac),
    )
    if first.mac and context.engine.rootless:
        raise Unsupported("--mac-address: an ordinary user's container has the address that its way out gives it")
    if first.mac and first.network in ("host", "none"):
        raise Conflict(f"--mac-address is not for a container with --network {first.network}")
    if first.network in _MODES and (first.address or first.aliases):
        flag = "--ip" if first.address else "--network-alias"
        raise Conflict(f"{flag} is for networks that you made", hint="sampan network create --subnet 10.1.0.0/16 NAME")
    joined[0] = first
    if any(joining.network in _MODES and (joining.address or joining.aliases) for joining in joined):
        raise Conflict("addresses and aliases are for networks that you made", hint="sampan network create makes one")
    _check_addresses(tuple(joined), context)
    return tuple(joined)


def _joining(text: str, context: "Context") -> "Joining":
    """One ``--network``: a name, or ``name=NAME,alias=ALIAS,ip=ADDRESS,mac-address=MAC`` (docker/cli,
    opts/network.go)."""
    from sampan.containers.options import Joining

    fields: dict[str, list[str]] = {}
    for word in text.split(",") if "=" in text else ():
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise Invalid(f"invalid --network {text!r}: {word!r} must be a pair NAME=VALUE")
        fields.setdefault(key.lower(), []).append(value)
    unknown = fields.keys() - {"name", "alias", "ip", "mac-address"}
    if unknown:
        raise Unsupported(f"--network: {min(unknown)} is not supported", hint="name, alias, ip and mac-address are")
    name = (fields.get("name") or ["" if fields else text])[-1]
    name = "bridge" if name == "default" else name
    if not name:
        raise Invalid(f"invalid --network {text!r}: it has no name")
    if name.startswith("container:"):
        return Joining(f"container:{context.engine.records.find(name.removeprefix('container:')).id}")
    address, mac = ((fields.get(key) or [""])[-1] for key in ("ip", "mac-address"))
    if name not in _MODES:
        name = _own(name, context).name
    return Joining(name, tuple(fields.get("alias", ())), address, _checked_mac(mac))


def _own(name: str, context: "Context") -> "Made":
    """A network that was made. Raises NotFound."""
    if context.engine.rootless:
        raise Unsupported(f"--network {name}: networks of one's own take root", hint="bridge, host and none do not")
    return context.engine.networks.find(name)


def _check_addresses(joined: "tuple[Joining, ...]", context: "Context") -> None:
    from sampan.networks import subnets

    for joining in joined:
        if joining.address:
            network = _own(joining.network, context).network
            subnets.check_address(joining.address, network.subnet, network.gateway)


def _checked_mac(text: str) -> str:
    """A hardware address (IEEE 802: six bytes), in the form that the kernel writes. Raises Invalid."""
    words = text.replace("-", ":").split(":")
    try:
        number = bytes(int(word, 16) for word in words) if text else b""
    except ValueError:
        number = b"\xff"
    if text and (len(number) != _BYTES or any(len(word) != 2 for word in words) or number[0] & _MULTICAST):
        raise Invalid(f"invalid --mac-address {text!r}", hint="six bytes of which the first is even: 92:d0:c6:0a:29:33")
    return number.hex(":")


def _check_shared(arguments: "Parsed") -> None:
    """What belongs to a network is said of the container that has it (moby, runconfig: ErrConflict…)."""
    for name in ("hostname", "dns", "dns-search", "dns-option", "add-host", "mac-address", "expose", "publish-all"):
        if name in arguments:
            raise Conflict(f"--{name} is not for a container that shares the network of another one")


def _shared_hostname(network: str, context: "Context") -> str:
    """The host name of the container whose network is shared: names on a network are one for each address."""
    from sampan.containers import lifecycle

    return lifecycle.hostname(context.engine.records.find(network.removeprefix("container:")))


def _checked_hostname(text: str) -> str:
    if len(text.encode()) > 64 or any(letter.isspace() or letter in "/\0" for letter in text):
        raise Invalid(f"invalid --hostname {text!r}", hint="at most 64 letters, digits, dots and dashes")
    return text


def _host(text: str, network: str, context: "Context") -> tuple[str, str]:
    from _socket import AF_INET, AF_INET6, inet_pton

    name, separator, address = text.partition("=" if "=" in text else ":")
    if not name or not separator or not address or any(letter.isspace() for letter in name):
        raise Invalid(f"invalid --add-host {text!r}", hint="write it as NAME:ADDRESS, for example db:10.0.0.5")
    address = address.removeprefix("[").removesuffix("]")
    if address == "host-gateway":
        return name, _gateway(network, text, context)
    try:
        inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except OSError:
        raise Invalid(f"invalid --add-host {text!r}: {address!r} is not an address", hint="or host-gateway") from None
    return name, address


def _server(text: str) -> str:
    from _socket import AF_INET, AF_INET6, inet_pton

    try:
        inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except OSError:
        raise Invalid(f"invalid --dns {text!r}: it is not an address") from None
    return text


def _words(arguments: "Parsed", *names: str) -> list[tuple[str, ...]]:
    for name in names:
        for text in arguments.texts(name):
            if not text or any(letter.isspace() or not letter.isprintable() for letter in text):
                raise Invalid(f"invalid --{name} {text!r}")
    return [tuple(arguments.texts(name)) for name in names]


def _gateway(network: str, text: str, context: "Context") -> str:
    """The host as the container reaches it; of a bridge that is known when the container is in it."""
    if network == "host":
        return "127.0.0.1"
    if not _is_bridge(network) or context.engine.rootless:
        where = "a container of an ordinary user" if _is_bridge(network) else "a container without a network"
        raise Unsupported(f"--add-host {text}: {where} has no way to its host")
    return "host-gateway"
