"""Digests: how content is named (OCI image-spec, descriptor.md, "Digests").

A digest of a stored blob, a diff id (the digest of an uncompressed layer tar) and a chain id (the digest of a stack of
diff ids) have the same form and must never be swapped; names of variables say which is meant.
"""

from __future__ import annotations

import sys

from sampan.errors import Corrupt, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from hashlib import _Hash

_HEX = "0123456789abcdef"
_LENGTH = {"sha256": 64, "sha512": 128}


class Digest(str):
    """A valid ``algorithm:hex`` text; being one is proof that it was checked, so it may be part of a path.

    >>> Digest("sha256:" + "0" * 64).algorithm
    'sha256'
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """Raises Invalid unless ``text`` is a sha256 or sha512 digest in lower-case hexadecimal."""
        if text.__class__ is cls:
            return text
        algorithm, colon, encoded = text.partition(":") if isinstance(text, str) else ("", "", "")
        if not colon or _LENGTH.get(algorithm) != len(encoded) or encoded.strip(_HEX):
            raise Invalid(f"not a digest: {text!r}", hint="a digest is sha256: and 64 hexadecimal digits")
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The twelve digits that people are shown."""
        return self.encoded[:12]


def sha256(data: bytes) -> Digest:
    """The sha256 digest of ``data``."""
    return Digest("sha256:" + _sha256(data))


def _sha256(data: bytes) -> str:
    """The interpreter's own implementation: half as fast as OpenSSL's, which takes 3 ms to load."""
    if sys.version_info >= (3, 12):
        from _sha2 import sha256
    else:
        from _sha256 import sha256  # type: ignore[import-not-found]
    text: str = sha256(data).hexdigest()
    return text


def hasher(digest: Digest | None = None) -> _Hash:
    """A hash object for the algorithm of ``digest`` (sha256 without one)."""
    import hashlib

    return hashlib.new(digest.algorithm if digest else "sha256")


def verify(data: bytes, expected: Digest, what: str) -> bytes:
    """``data``, if it hashes to ``expected``; raises Corrupt, naming ``what``, if it does not."""
    if expected.algorithm == "sha256":
        found = _sha256(data)
    else:
        hash_ = hasher(expected)
        hash_.update(data)
        found = hash_.hexdigest()
    if found != expected.encoded:
        raise Corrupt(f"{what} is corrupt: its digest is {expected.algorithm}:{found}, not {expected}")
    return data


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain id of each prefix of a layer stack (OCI image-spec, config.md, "Layer ChainID").

    The first chain id is the first diff id; each next one is the digest of "PARENT DIFF_ID".
    """
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
