import errno
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machines import Machine
from sampan.linux import netlink, nftables, sockets
from sampan.linux.netlink import Message

little = pytest.mark.skipif(struct.pack("=H", 1) != b"\1\0", reason="the machine is big-endian, the bytes are not")


@little
def test_attributes_are_padded_and_nest() -> None:
    assert netlink.attribute(3, b"lo\0") == bytes.fromhex("07000300 6c6f0000")
    assert netlink.nested(18, netlink.number(4, 1500)) == bytes.fromhex("0c001280 08000400 dc050000")
    assert netlink.attributes(netlink.nested(18, b"")) == {18: b""}


@pytest.mark.parametrize("size", [0xFFFF - 4, 0xFFFF - 3, 0x10000 - 4, 0x10000, 0x10004])
def test_a_length_beyond_16_bits_is_refused(size: int) -> None:
    """CVE-2021-43784: a length that wraps lets data be read as attributes."""
    if size + 4 <= 0xFFFF:
        assert netlink.attributes(netlink.attribute(1, bytes(size))) == {1: bytes(size)}
        return
    with pytest.raises(OSError, match="netlink attribute 1 would need") as caught:
        netlink.attribute(1, bytes(size))
    assert caught.value.errno == errno.EMSGSIZE


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_come_back(pairs: list[tuple[int, bytes]]) -> None:
    assert list(netlink.each_attribute(b"".join(netlink.attribute(*pair) for pair in pairs))) == pairs


@given(st.binary(max_size=200))
def test_no_bytes_hang_or_break_the_reader(data: bytes) -> None:
    for _, value in netlink.each_attribute(data):
        assert value in data


@little
def test_a_veth_pair_as_bytes() -> None:
    bridge = netlink.Link(7, "b", 0, 1400, b"", 0)
    message = netlink.new_veth("v", "eth0", bridge, bytes(6), 5)
    assert message.kind == 16
    found = netlink.attributes(message.payload[16:])
    assert found[3] == b"v\0"
    assert found[10] == (7).to_bytes(4, "little")
    information = netlink.attributes(found[18])
    assert information[1] == b"veth\0"
    peer = netlink.attributes(netlink.attributes(information[2])[1][16:])
    assert peer == {3: b"eth0\0", 1: bytes(6), 4: (1400).to_bytes(4, "little"), 28: (5).to_bytes(4, "little")}


def test_links_and_addresses_of_this_machine_are_read() -> None:
    with netlink.Socket() as sock:
        loopback = netlink.find_link(sock, "lo")
        assert loopback
        assert (loopback.ifindex, loopback.name, loopback.master) == (1, "lo", 0)
        assert loopback in [link._replace(flags=loopback.flags) for link in netlink.links(sock)]
        assert netlink.find_link(sock, "nosuchlink") is None
        assert netlink.Address(1, socket.inet_aton("127.0.0.1"), 8) in netlink.addresses(sock)
        assert any(route.table == 255 and route.destination[:1] == b"\x7f" for route in netlink.routes(sock))


def test_the_kernel_s_words_are_in_the_error() -> None:
    with netlink.Socket() as sock, pytest.raises(OSError, match="removing link nosuchlink: ") as caught:
        sock.perform(netlink.delete_link("nosuchlink"))
    assert caught.value.errno in (errno.ENODEV, errno.EPERM)


def _dead_letters() -> tuple[list[int], list[str]]:
    failures, names = [], []
    bridge = netlink.new_bridge("b0", bytes((2, 0, 0, 0, 0, 1)))
    with netlink.Socket() as sock:
        for messages in (
            [bridge, bridge, netlink.set_up(1)],
            [Message(netlink.RTM_NEWLINK, netlink.NLM_F_CREATE, b"short", "a cut message")],
            [netlink.new_address(999, b"\x0a\0\0\1", 24)],
            [netlink.new_route(1, b"\x0a\0\0\1")],
        ):
            with pytest.raises(OSError) as caught:
                sock.perform(*messages)
            failures.append(caught.value.errno or 0)
        names = [link.name for link in netlink.links(sock) if link.flags & netlink.IFF_UP]
    return failures, names


@pytest.mark.system
@pytest.mark.root
def test_failures_are_told_and_what_follows_is_done() -> None:
    machine = Machine("alone", loopback=False)
    try:
        failures, up = machine.call(_dead_letters)
        assert failures == [errno.EEXIST, errno.EINVAL, errno.ENODEV, errno.ENETUNREACH]
        assert up == ["lo"]
    finally:
        machine.close()


@pytest.mark.system
@pytest.mark.root
def test_inside_comes_back_also_after_an_error() -> None:
    machine = Machine("other")
    own = os.readlink("/proc/thread-self/ns/net")
    namespace = os.open(f"/proc/{machine.pid}/ns/net", os.O_RDONLY)
    try:
        with sockets.inside(namespace):
            assert os.readlink("/proc/thread-self/ns/net") != own
        with pytest.raises(KeyError), sockets.inside(namespace):
            raise KeyError
        assert os.readlink("/proc/thread-self/ns/net") == own
    finally:
        os.close(namespace)
        machine.close()


def _batches() -> list[str]:
    names = []
    with nftables.open_socket() as sock:
        nftables.commit(sock, [nftables.add_table("first")])
        with pytest.raises(FileNotFoundError, match="table third"):
            nftables.commit(sock, [nftables.add_table("second"), nftables.delete_table("third")])
        for name in ("first", "second", "third"):
            try:
                nftables.commit(sock, [nftables.delete_table(name)])
                names.append(name)
            except FileNotFoundError:
                continue
    return names


@pytest.mark.system
@pytest.mark.root
def test_a_batch_is_done_whole_or_not_at_all() -> None:
    machine = Machine("alone")
    try:
        assert machine.call(_batches) == ["first"]
    finally:
        machine.close()


def _thousands() -> tuple[int, int]:
    elements = [(number.to_bytes(4, "big"), number.to_bytes(4, "big")) for number in range(5000)]
    with nftables.open_socket() as sock:
        made = [nftables.add_table("t"), nftables.add_map("t", "m", [7], [7], 1)]
        nftables.commit(sock, made + nftables.add_elements("t", "m", elements))
        nftables.commit(sock, nftables.remove_elements("t", "m", [key for key, _ in elements[:4999]]))
    return len(elements), 1


@pytest.mark.system
@pytest.mark.root
def test_thousands_of_elements_fit_into_a_batch() -> None:
    machine = Machine("alone")
    try:
        machine.call(_thousands)
        assert "elements = { 0.0.19.135 : 0.0.19.135 }" in machine.run("nft list map ip t m")
    finally:
        machine.close()
