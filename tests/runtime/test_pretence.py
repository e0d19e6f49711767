"""What is read of a notified call."""

from sampan.runtime import pretence


def test_ids_that_mean_as_it_is() -> None:
    assert pretence._id(0xFFFFFFFF, True) is None
    assert pretence._id(0xFFFFFFFFFFFFFFFF, True) is None  # registers have 64 bits, ids 32
    assert pretence._id(0xFFFF, True) == 0xFFFF
    assert pretence._id(0xFFFF, False) is None  # the oldest calls of 32-bit machines
    assert pretence._merged((None, 5), (3, 4)) == (3, 5)
    assert pretence._merged((6, None), (3, 4)) == (6, 4)


def test_signed_arguments() -> None:
    assert pretence._signed(0xFFFFFF9C) == -100
    assert pretence._signed(0xFFFFFFFFFFFFFF9C) == -100
    assert pretence._signed(3) == 3


def test_a_filter_for_each_machine() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(pretence.program(machine)) % 8 == 0
