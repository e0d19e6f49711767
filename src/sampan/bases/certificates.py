"""Public CA certificates for an image, and none of this machine's own.

Machines behind a proxy that terminates TLS often have its CA added to every bundle in reach. So the system's bundle is
never taken, and files only as their publisher shipped them, which his checksums tell.
"""

import os

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

_DPKG_CHECKSUMS = "/var/lib/dpkg/info/ca-certificates.md5sums"
_DEBIAN_DIRECTORY = "usr/share/ca-certificates/mozilla/"


def as_recorded(path: str, inside: str, record: str) -> bytes | None:
    """The file at ``path`` as the wheel shipped it whose RECORD lists it as ``inside``; None if that is past finding.

    What was appended since is cut off. ``record`` is the RECORD's text (packaging.python.org, "Recording installed
    projects").
    """
    import base64
    import csv
    import hashlib

    row = next((row for row in csv.reader(record.splitlines()) if len(row) == 3 and row[0] == inside), None)
    if not row or not row[1].startswith("sha256=") or not row[2].isdigit():
        return None
    with open(path, "rb") as file:
        data = file.read(int(row[2]))
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return data if row[1] == f"sha256={digest}" else None


def from_debian(root: str = "/") -> bytes | None:
    """Mozilla's certificates out of Debian's package ca-certificates, as one bundle; None where it is not installed."""
    import hashlib

    try:
        with open(os.path.join(root, _DPKG_CHECKSUMS.lstrip("/")), encoding="utf-8") as file:
            listed = [line.rstrip("\n").split("  ", 1) for line in file]
    except OSError:
        return None
    bundle = []
    for checksum, name in sorted(listed, key=lambda row: row[-1]):
        if name.startswith(_DEBIAN_DIRECTORY) and name.endswith(".crt"):
            try:
                with open(os.path.join(root, name), "rb") as file:
                    data = file.read()
            except OSError:
                continue
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == checksum:
                bundle.append(data.rstrip(b"\n") + b"\n")
    return b"".join(bundle) or None
