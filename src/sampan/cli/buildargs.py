"""``--build-arg``, as build and lint have it."""

import os

from sampan.errors import Invalid

EPOCH = "SOURCE_DATE_EPOCH"


def parse(texts: list[str]) -> dict[str, str]:
    """``NAME=VALUE``, or ``NAME`` with the value that the environment has, if it has one. Raises Invalid."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise Invalid(f"invalid --build-arg {text!r}: the name is missing", hint="write it as NAME=VALUE")
        if equals or name in os.environ:
            values[name] = value if equals else os.environ[name]
    if EPOCH in os.environ:  # as buildx does it
        values.setdefault(EPOCH, os.environ[EPOCH])
    return values
