"""nf_tables over netlink: a packet filter's tables, chains, rules and maps, changed in one atomic batch.

Rules are written as the kernel runs them: a list of expressions on registers, what ``nft --debug=netlink`` shows
(include/uapi/linux/netfilter/nf_tables.h). Register 1 is 16 bytes wide and is also the 4-byte registers 8 to 11, so
that a key of several fields is loaded into 1, 9 and 10. Numbers in attributes are big-endian; what registers hold is
big-endian as on the wire, or in the machine's order for what the kernel computes itself.
"""

from __future__ import annotations

import errno
import sys

from sampan.errors import Unavailable
from sampan.linux import netlink
from sampan.linux.netlink import NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, Message, attribute, attributes, nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NamedTuple
else:
    from sampan.values import NamedTuple

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEWTABLE, _DELTABLE = 0, 2
_NEWCHAIN, _GETCHAIN = 3, 4
_NEWRULE, _GETRULE, _DELRULE = 6, 7, 8
_NEWSET, _NEWSETELEM, _DELSETELEM = 9, 12, 14
_IPV4 = 2
_LIST_ELEM, _EXPR_NAME, _EXPR_DATA = 1, 1, 2
_DATA_VALUE, _DATA_VERDICT, _VERDICT_CODE = 1, 2, 1
_RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 2, 3, 4, 7
_SET_MAP = 8
_NF_DROP, _NF_ACCEPT = 0, 1

# Hooks and the priorities of their usual steps (include/uapi/linux/netfilter.h, netfilter_ipv4.h).
PREROUTING, FORWARD, OUTPUT, POSTROUTING = 0, 2, 3, 4
RAW, DSTNAT, FILTER, SRCNAT = -300, -100, 0, 100

# Types of map keys and data, as numbered by libnftnl's users; only listings read them.
TYPE_IPV4, TYPE_PROTOCOL, TYPE_PORT = 7, 12, 13
_TYPE_BITS = 6

REGISTERS = (1, 9, 10)
_KEYS_PER_MESSAGE = 400


class Chain(NamedTuple):
    """A base chain; its policy is to accept. ``kind`` is "filter" or "nat"."""

    name: str
    kind: str
    hook: int
    priority: int


class Rule(NamedTuple):
    """``expressions`` as made below; ``comment`` is how the rule is recognised."""

    chain: str
    comment: str
    expressions: tuple[bytes, ...]


# -- expressions ----------------------------------------------------------------------------------------------------


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(_LIST_ELEM, netlink.text(_EXPR_NAME, name), nested(_EXPR_DATA, *parts))


def _value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(_DATA_VALUE, data))


def host(value: int) -> bytes:
    """32 bits as a register holds what the kernel computed."""
    return value.to_bytes(4, sys.byteorder)


def meta(key: int, register: int = 1) -> bytes:
    return _expression("meta", _number(2, key), _number(1, register))


def load_protocol(register: int) -> bytes:
    """The transport protocol's number (NFT_META_L4PROTO)."""
    return meta(16, register)


def load_source(register: int = 1) -> bytes:
    return _payload(1, 12, 4, register)


def load_destination(register: int = 1) -> bytes:
    return _payload(1, 16, 4, register)


def load_destination_port(register: int) -> bytes:
    """The second field of the TCP, UDP or SCTP header."""
    return _payload(2, 2, 2, register)


def _payload(base: int, offset: int, length: int, register: int) -> bytes:
    parts = ((1, register), (2, base), (3, offset), (4, length))
    return _expression("payload", *(_number(kind, value) for kind, value in parts))


def compare(data: bytes, *, equal: bool = True, register: int = 1) -> bytes:
    return _expression("cmp", _number(1, register), _number(2, 0 if equal else 1), _value(3, data))


def mask(data: bytes, register: int = 1) -> bytes:
    parts = (_number(1, register), _number(2, register), _number(3, len(data)))
    return _expression("bitwise", *parts, _value(4, data), _value(5, bytes(len(data))))


def from_device(name: str, *, equal: bool = True) -> tuple[bytes, ...]:
    return meta(6), compare(_device(name), equal=equal)


def to_device(name: str, *, equal: bool = True) -> tuple[bytes, ...]:
    return meta(7), compare(_device(name), equal=equal)


def _device(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def source_in(network: bytes, prefix: int) -> tuple[bytes, ...]:
    return load_source(), mask(_netmask(prefix)), compare(network)


def destination_in(network: bytes, prefix: int) -> tuple[bytes, ...]:
    return load_destination(), mask(_netmask(prefix)), compare(network)


def _netmask(prefix: int) -> bytes:
    return (0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF).to_bytes(4, "big")


def destination_is_local() -> tuple[bytes, ...]:
    """The packet is for this machine itself (fib daddr type local)."""
    fib = _expression("fib", _number(1, 1), _number(2, 3), _number(3, 2))
    return fib, compare(host(2))


def connection_lacks(key: int, bits: int) -> tuple[bytes, ...]:
    return _connection(key), mask(host(bits)), compare(host(0))


def connection_has(key: int, bits: int) -> tuple[bytes, ...]:
    return _connection(key), mask(host(bits)), compare(host(0), equal=False)


CT_STATE, CT_STATUS = 0, 2
STATE_ESTABLISHED, STATE_RELATED = 1 << 1, 1 << 2
STATUS_DNAT = 1 << 5


def _connection(key: int) -> bytes:
    return _expression("ct", _number(2, key), _number(1, 1))


def look_up(name: str) -> bytes:
    """The data of a map for the key in register 1, into register 1; the rule ends here for a packet without any."""
    return _expression("lookup", netlink.text(1, name), _number(2, 1), _number(3, 1))


def destination_nat() -> bytes:
    """Sends the connection to the address in register 1 and the port in register 9."""
    return _expression("nat", _number(1, 1), _number(2, _IPV4), _number(3, 1), _number(5, 9))


def masquerade() -> bytes:
    return _expression("masq")


def drop() -> bytes:
    return _verdict(_NF_DROP)


def accept() -> bytes:
    return _verdict(_NF_ACCEPT)


def _verdict(code: int) -> bytes:
    return _expression("immediate", _number(1, 0), nested(2, nested(_DATA_VERDICT, _number(_VERDICT_CODE, code))))


# -- messages -------------------------------------------------------------------------------------------------------


def _message(kind: int, flags: int, attributes: bytes, subject: str) -> Message:
    return Message(_SUBSYSTEM << 8 | kind, flags, bytes((_IPV4, 0, 0, 0)) + attributes, subject)


def add_table(name: str) -> Message:
    """Makes a table for IPv4, if it is not there."""
    return _message(_NEWTABLE, NLM_F_CREATE, netlink.text(1, name), f"table {name}")


def delete_table(name: str) -> Message:
    return _message(_DELTABLE, 0, netlink.text(1, name), f"table {name}")


def add_chain(table: str, chain: Chain) -> Message:
    hook = nested(4, _number(1, chain.hook), _number(2, chain.priority))
    data = netlink.text(1, table) + netlink.text(3, chain.name) + hook + netlink.text(7, chain.kind)
    return _message(_NEWCHAIN, NLM_F_CREATE, data, f"chain {chain.name} of table {table}")


def add_map(table: str, name: str, key: Sequence[int], data: Sequence[int], identifier: int) -> Message:
    """A map from a key of some types to data of some types, each in four bytes.

    ``identifier`` is its own within the batch.
    """
    parts = ((3, _SET_MAP), (4, _types(key)), (5, 4 * len(key)), (6, _types(data)), (7, 4 * len(data)))
    numbers = b"".join(_number(kind, value) for kind, value in (*parts, (10, identifier)))
    return _message(_NEWSET, NLM_F_CREATE, netlink.text(1, table) + netlink.text(2, name) + numbers, f"map {name}")


def _types(types: Sequence[int]) -> int:
    combined = 0
    for kind in types:
        combined = combined << _TYPE_BITS | kind
    return combined


def add_rule(table: str, rule: Rule) -> Message:
    """Appends a rule to its chain."""
    # libnftnl's form of a comment: type 0, length, text with its zero.
    comment = rule.comment.encode()[:250] + b"\0"
    data = netlink.text(1, table) + netlink.text(_RULE_CHAIN, rule.chain)
    data += nested(_RULE_EXPRESSIONS, *rule.expressions)
    data += attribute(_RULE_USERDATA, bytes((0, len(comment))) + comment)
    subject = f"rule “{rule.comment}” of table {table}"
    return _message(_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, data, subject)


def delete_rule(table: str, chain: str, handle: bytes) -> Message:
    data = netlink.text(1, table) + netlink.text(2, chain) + attribute(_RULE_HANDLE, handle)
    return _message(_DELRULE, 0, data, f"rule of table {table}")


def add_elements(table: str, name: str, elements: Iterable[tuple[bytes, bytes]]) -> list[Message]:
    """Adds keys with their data to a map. A key that is there with other data is an error (EEXIST)."""
    packed = [nested(_LIST_ELEM, _value(1, key), _value(2, data)) for key, data in elements]
    return _elements(_NEWSETELEM, NLM_F_CREATE, table, name, packed)


def remove_elements(table: str, name: str, keys: Iterable[bytes]) -> list[Message]:
    """Removes keys from a map; a key that is not there is an error (ENOENT)."""
    packed = [nested(_LIST_ELEM, _value(1, key)) for key in keys]
    return _elements(_DELSETELEM, 0, table, name, packed)


def _elements(kind: int, flags: int, table: str, name: str, packed: list[bytes]) -> list[Message]:
    head = netlink.text(1, table) + netlink.text(2, name)
    return [
        _message(kind, flags, head + nested(3, *packed[start : start + _KEYS_PER_MESSAGE]), f"map {name} of {table}")
        for start in range(0, len(packed), _KEYS_PER_MESSAGE)
    ]


# -- the conversation -----------------------------------------------------------------------------------------------


def open_socket() -> netlink.Socket:
    """Raises Unavailable if the kernel has no nf_tables."""
    try:
        return netlink.Socket(netlink.NETLINK_NETFILTER)
    except OSError as error:
        raise _missing(error) from None


def commit(sock: netlink.Socket, messages: Sequence[Message]) -> None:
    """Performs all ``messages`` or none of them. Raises OSError, Unavailable if there is no nf_tables."""
    frame = bytes((0, 0)) + _SUBSYSTEM.to_bytes(2, "big")
    begin = Message(_BATCH_BEGIN, 0, frame, "nf_tables")
    end = Message(_BATCH_END, 0, frame, "nf_tables")
    awaited = {index + 1: message.subject for index, message in enumerate(messages)}
    try:
        sock.send([begin, *messages, end], awaited)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
            raise _missing(error) from None
        raise


def rules(sock: netlink.Socket, table: str, chain: str = "") -> dict[str, list[tuple[str, bytes]]]:
    """The rules of a table by chain, each as (comment, handle). Empty if there is no such table."""
    data = netlink.text(1, table) + (netlink.text(_RULE_CHAIN, chain) if chain else b"")
    found: dict[str, list[tuple[str, bytes]]] = {}
    for answer in _dump(sock, _message(_GETRULE, NLM_F_DUMP, data, f"rules of table {table}")):
        name = answer.get(_RULE_CHAIN, b"").rstrip(b"\0").decode(errors="replace")
        comment = answer.get(_RULE_USERDATA, b"")[2:].split(b"\0")[0].decode(errors="replace")
        # Kernels before 4.20 ignore the question's table and chain and answer with everything.
        if answer.get(1) == table.encode() + b"\0" and chain in ("", name):
            found.setdefault(name, []).append((comment, answer.get(_RULE_HANDLE, b"")))
    return found


def drops_by_default(sock: netlink.Socket, table: str, chain: str) -> bool:
    """Whether a chain of ``table`` (family ip) exists and has the policy to drop what no rule accepts."""
    question = _message(_GETCHAIN, 0, netlink.text(1, table) + netlink.text(3, chain), f"chain {chain}")
    answers = _dump(sock, question)
    return bool(answers) and answers[0].get(5) == bytes(4)


def _dump(sock: netlink.Socket, question: Message) -> list[dict[int, bytes]]:
    try:
        return [attributes(answer[4:]) for answer in sock.ask(question)]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            raise _missing(error) from None
        raise


def _missing(error: OSError) -> Unavailable:
    return Unavailable(
        f"the kernel has no nf_tables, which a bridge network needs: {error.strerror}",
        hint="load the modules nf_tables, nft_chain_nat, nft_masq and nft_fib_ipv4, or use --network host or none",
    )
