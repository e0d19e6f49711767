"""A container's network as its monitor makes it."""

from __future__ import annotations

from sampan import plainjson
from sampan.networks import dns
from sampan.networks.attachment import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.linux.poll import Poll


def connect(job: dict[str, Any], pid: int, poll: Poll) -> Attachment:
    """Connects the namespace of the process ``pid``, and writes the container's /etc/hosts. Raises SampanError."""
    network = Attachment(job["id"], job["networks"])
    try:
        network.reserve(job["ports"])
        if job["rootless"]:
            network.join_user_mode(pid, poll)
        else:
            network.join_bridges(pid, poll, job["joined"])
        named = [(name, network.gateway if where == "host-gateway" else where) for name, where in job["hosts"]]
        names = tuple(dict.fromkeys((job["hostname"], job["name"])))
        with open(f"{job['directory']}/hosts", "w") as file:
            file.write(dns.hosts(named, network.address or "127.0.0.1", names))
        _find_names(network, job, pid, poll)
    except BaseException:
        network.close()
        raise
    return network


def changed(network: Attachment | None, job: dict[str, Any], data: bytes, pid: int, poll: Poll) -> Attachment:
    """What is to be undone at the end, after somebody took the container into another network or out of one; ``data``
    is where it is now (``places``)."""
    job["network"], job["joined"] = plainjson.loads(data)
    network = network or Attachment(job["id"], job["networks"])
    network.is_bridged = True
    if pid and not network.answers_names:
        _find_names(network, job, pid, poll)
    return network


def _find_names(network: Attachment, job: dict[str, Any], pid: int, poll: Poll) -> None:
    """Writes the container's /etc/resolv.conf, and answers it where it has neighbours with names."""
    servers, search, options = job["dns"]
    if network.has_neighbours():
        network.answer_names(pid, poll, servers or dns.host_nameservers() or dns.FALLBACK)
        servers, options = [dns.OWN], options or ["ndots:0"]
    with open(f"{job['directory']}/resolv.conf", "w") as file:
        file.write(dns.resolv_conf(servers, search, options, forwarded=job["rootless"]))
