"""Questions and answers of the Domain Name System, held against bytes that are written out."""

import os

import pytest

from sampan.networks import wire

ASKED = bytes.fromhex("abcd 0100 0001 0000 0000 0000") + b"\x03Web\x03app\x00" + bytes.fromhex("0001 0001")


def test_a_question() -> None:
    assert wire.question(ASKED) == wire.Question("web.app", wire.A, wire.IN, len(ASKED))
    assert wire.question(ASKED + b"more, such as EDNS") == wire.Question("web.app", wire.A, wire.IN, len(ASKED))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        ASKED[:11],
        ASKED[:-1],
        ASKED[:2] + b"\x81\x80" + ASKED[4:],  # an answer
        ASKED[:2] + b"\x28\x00" + ASKED[4:],  # an update
        ASKED[:4] + b"\x00\x02" + ASKED[6:],  # two questions
        ASKED[:12] + b"\xc0\x0c" + bytes.fromhex("0001 0001"),  # a pointer to itself
        ASKED[:12] + b"\x3f" * 2000,
    ],
)
def test_what_is_no_question(message: bytes) -> None:
    assert wire.question(message) is None


def test_no_bytes_at_all_upset_it() -> None:
    for _ in range(3000):
        message = bytearray(ASKED + os.urandom(20))
        for place in os.urandom(4):
            message[place % len(message)] = os.urandom(1)[0]
        asked = wire.question(bytes(message))
        assert asked is None or asked.end <= len(message)


def test_an_answer() -> None:
    asked = wire.question(ASKED)
    assert asked
    reply = wire.answer(ASKED, asked, [(wire.A, bytes((10, 1, 2, 3)))])
    head, record = (
        bytes.fromhex("abcd 8180 0001 0001 0000 0000"),
        bytes.fromhex("c00c 0001 0001 00000005 0004 0a010203"),
    )
    assert reply == head + ASKED[12:] + record
    assert (
        wire.answer(ASKED, asked, code=wire.NO_SUCH_NAME) == bytes.fromhex("abcd 8183 0001 0000 0000 0000") + ASKED[12:]
    )


def test_names_of_addresses() -> None:
    assert wire.reversed_address("3.2.1.10.in-addr.arpa") == "10.1.2.3"
    assert wire.reversed_address("web") == wire.reversed_address("1.in-addr.arpa") == ""
    assert wire.domain("web.app") == b"\x03web\x03app\x00"
