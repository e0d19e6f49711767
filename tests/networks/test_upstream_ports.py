"""Ports as go-connections tests them."""

import re

import pytest

import gotables
from sampan.errors import Invalid
from sampan.networks import ports
from sampan.networks.ports import Port

FILE = "docker/go-connections/nat/nat_test.go"


def specifications() -> list[str]:
    """Every text that the tests take for ``-p``."""
    lists = re.findall(r'ParsePortSpecs?\((?:\[\]string\{)?("[^)}]+")', gotables.read(FILE))
    return [text for line in lists for text in re.findall(r'"([^"]+)"', line)]


REFUSED = {"localhost:1234:1234/tcp", "localhost:1234-1236:1234-1236/tcp", "192.168.1.100", "192.168.1.100:-1:-1"}


def test_all_of_them() -> None:
    found = specifications()
    assert len(found) >= 25
    assert set(found) >= REFUSED
    for text in found:
        if text in REFUSED:
            with pytest.raises(Invalid):
                ports.parse(text)
            continue
        rest, _, protocol = text.partition("/")
        address, _, container = rest.rpartition(":")
        first, _, last = container.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        parsed = ports.parse(text)
        assert [port.container_port for port in parsed] == list(numbers)
        assert {port.protocol for port in parsed} == {protocol or "tcp"}
        if address.startswith("0.0.0.0:"):
            assert {port.host_ip for port in parsed} == {"0.0.0.0"}


def test_in_full() -> None:
    assert ports.parse("0.0.0.0:1234-1235:3333-3334/tcp") == [
        Port("0.0.0.0", 1234, 3333),
        Port("0.0.0.0", 1235, 3334),
    ]
    assert ports.parse("[2001:4860:0:2001::68]::333") == [Port("2001:4860:0:2001::68", 0, 333)]


def test_ranges() -> None:
    body = gotables.function(gotables.read(FILE), "TestParsePortRangeToInt")
    valid = re.findall(r'\{"([^"]+)", (\d+), (\d+)\}', body)
    invalid = gotables.texts(body, "invalidRanges")
    assert len(valid) + len(invalid) >= 12
    for text, first, last in valid:
        assert ports._range(text, text, 0) == range(int(first), int(last) + 1)
    for text in invalid:
        with pytest.raises(Invalid):
            ports._range(text, text, 0)
