"""The part that runs inside the sandbox: ``python -m bench.inside FILE``, with what ``__main__`` wrote to the file."""

import datetime
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from bench import engines, report, sandbox
from bench.cases import Case, chosen
from bench.contents import Size
from bench.engines import Engine
from bench.errors import BenchError, CaseFailed
from bench.install import interpreter
from bench.processes import Processes
from bench.rounds import measure
from bench.servers import Daemon, Registry
from bench.site import Site

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Order(NamedTuple):
    """What to measure, of what. ``name`` is that of the sandbox, ``directory`` is for the benchmark alone."""

    name: str
    directory: str
    cases: Sequence[str]
    peers: Sequence[str]
    sampan: str
    runs: int | None
    megabytes: int
    files: int


def perform(order: Order) -> dict[str, Any]:
    """Measures everything that was asked for; what ``--json`` writes."""
    memory = Path(order.directory, "memory")
    memory.mkdir()
    sandbox.furnish(order.name, memory)
    site = _open(order, memory)
    found = _engines(order, site)
    about = {**_about(order), "versions": {engine.name: _version(site, engine) for engine in found}}
    rows = [_row(site, found, case, order.runs or case.runs) for case in chosen(order.cases)]
    print(report.text(rows, about))
    return report.document(rows, about)


def _open(order: Order, memory: Path) -> Site:
    environment = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": str(memory / "home"), "TMPDIR": str(memory / "tmp")}
    for name in ("home", "tmp"):
        (memory / name).mkdir()
    processes = Processes(memory, environment)
    program = engines.program("docker-registry")
    if program is None:
        raise BenchError("docker-registry is not installed (on Debian: apt install docker-registry)")
    source, target = Registry(memory / "source", 5000), Registry(memory / "target", 5001)
    for registry in (source, target):
        registry.start(processes, program)
    site = Site(memory, processes, Size(order.megabytes, order.files), source, target)
    site.furnish(engines.sampan(order.sampan, memory / "workshop"))
    return site


def _engines(order: Order, site: Site) -> list[Engine]:
    found = [engines.sampan(order.sampan, site.memory / "sampan")]
    if "docker" in order.peers:
        site.daemon = Daemon(site.memory / "docker")
        site.daemon.start(site.processes, engines.program("dockerd") or "dockerd")
        found.append(engines.docker(site.daemon.address))
    found += engines.containers_tools(site.memory, (site.source.address, site.target.address), order.peers)
    if "crun" in order.peers:
        found.append(engines.crun())
    return [*found, engines.python(interpreter(Path(order.sampan)))]


def _row(site: Site, found: Sequence[Engine], case: Case, runs: int) -> report.Row:
    prepare = {engine.name: partial(case.prepare, site, engine) for engine in found}
    results = measure(prepare, runs, case.warm_up)
    row = report.Row(case.name, case.title, case.unit, results)
    print(report.line(row), file=sys.stderr, flush=True)
    return row


def _version(site: Site, engine: Engine) -> str:
    version = ("--version",) if engine.name == "python" else engine.version
    return site.do(engine, *version).strip().partition("\n")[0]


def _about(order: Order) -> Mapping[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 1),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "large_image": {"megabytes": order.megabytes, "files": order.files},
    }


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(file: Path) -> int:
    """Performs an order, and writes the results beside it."""
    # Process 1 of a PID namespace gets no signal that it has no handler for.
    signal.signal(signal.SIGTERM, _interrupt)
    order = Order(**json.loads(file.read_text()))
    try:
        results = perform(order)
    except (BenchError, CaseFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    file.with_name("results.json").write_text(json.dumps(results, indent=2) + "\n")
    failed = any("problem" in case["engines"].get(report.SUBJECT, {}) for case in results["cases"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
