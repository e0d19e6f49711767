"""The keys that leave a container alone with itself (``--detach-keys``; moby, pkg/process and term/ascii.go)."""

from __future__ import annotations

from sampan.errors import Invalid

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """``ctrl-p,ctrl-q``, ``a,b``: the bytes that these keys send; "" is none at all. Raises Invalid."""
    return bytes(_key(word, text) for word in text.split(",")) if text else b""


def _key(word: str, text: str) -> int:
    if len(word) == 1 and word.isascii():
        return ord(word)
    letter = word.removeprefix("ctrl-").lower()
    if word.startswith("ctrl-") and letter in _CONTROL:
        return _CONTROL[letter]
    if word.startswith("ctrl-") and len(letter) == 1 and letter.isascii() and letter.isalpha():
        return ord(letter) - ord("a") + 1
    raise Invalid(f"invalid --detach-keys {text!r}", hint="letters, or ctrl- and a letter, for example ctrl-p,ctrl-q")


class Detector:
    """Finds the keys in what is typed. The beginning of them is held back until it is clear what it is."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on of ``data``, and whether the keys were typed, behind which nothing counts."""
        if not self._keys:
            return data, False
        data = self._held + data
        place = data.find(self._keys)
        if place >= 0:
            return data[:place], True
        held = max(size for size in range(len(self._keys)) if data.endswith(self._keys[:size]))
        self._held = data[len(data) - held :]
        return data[: len(data) - held], False
