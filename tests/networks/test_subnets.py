import pytest
from hypothesis import given
from hypothesis import strategies as st

from machines import Machine
from sampan.errors import Invalid, Unavailable
from sampan.linux import netlink
from sampan.networks import subnets


@pytest.mark.parametrize("text", ["10.1.0.0/16", "192.168.16.0/20", "10.1.2.8/29", "10.0.0.0/8"])
def test_parse(text: str) -> None:
    network, prefix = subnets.parse(text)
    assert f"{'.'.join(map(str, network))}/{prefix}" == text


@pytest.mark.parametrize(
    "text", ["", "10.1.0.0", "10.1.0.1/16", "10.1.0.0/30", "0.0.0.0/0", "x/16", "10.1.0.0/x", "::/64"]
)
def test_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not an IPv4 network"):
        subnets.parse(text)


def test_all_candidates_are_private_and_apart() -> None:
    found = list(subnets._candidates())
    assert not any(subnets._overlap(one, other) for one in found for other in found if one is not other)
    private = [subnets.parse(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    assert all(any(subnets._overlap(block, one) and one[1] >= block[1] for block in private) for one in found)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_overlap_is_a_common_address(one: int, first: int, other: int, second: int) -> None:
    def span(address: int, prefix: int) -> tuple[int, int]:
        size = 1 << (32 - prefix)
        return address // size * size, address // size * size + size - 1

    low, high = span(one, first), span(other, second)
    common = low[0] <= high[1] and high[0] <= low[1]
    assert subnets._overlap((one.to_bytes(4, "big"), first), (other.to_bytes(4, "big"), second)) == common


def _choose(wanted: str = "") -> str:
    with netlink.Socket() as route:
        network, prefix = subnets.choose(route, wanted)
    return f"{'.'.join(map(str, network))}/{prefix}"


@pytest.mark.system
@pytest.mark.root
def test_what_the_host_uses_is_avoided() -> None:
    host = Machine("host")
    try:
        assert host.call(_choose) == "10.201.0.0/16"
        host.run("ip link add up0 type bridge")
        host.run("ip link set up0 up", "ip address add 10.201.3.4/24 dev up0")
        assert host.call(_choose) == "10.202.0.0/16"
        host.run("ip route add 10.202.9.0/24 dev up0")
        assert host.call(_choose) == "10.203.0.0/16"
        host.run("ip route add default dev up0", "ip route add 0.0.0.0/1 dev up0", "ip route add 128.0.0.0/1 dev up0")
        assert host.call(_choose) == "10.203.0.0/16"
        host.run("ip route add 10.0.0.0/8 dev up0 table 77")
        assert host.call(_choose) == "172.31.0.0/16"
        host.run("ip route add 172.16.0.0/12 dev up0", "ip route add unreachable 192.168.0.0/19")
        assert host.call(_choose) == "192.168.32.0/20"
        assert host.call(_choose, "192.168.64.0/24") == "192.168.64.0/24"
        with pytest.raises(Unavailable, match=r"192\.168\.0\.0/24 overlaps"):
            host.call(_choose, "192.168.0.0/24")
        host.run("ip route add 192.168.0.0/16 dev up0")
        with pytest.raises(Unavailable, match="every private network"):
            host.call(_choose)
    finally:
        host.close()
