"""``python -m bench``: sampan beside docker, podman, buildah, skopeo and crun, in turns, in one run.

python -m bench                          all cases, all engines that are installed
python -m bench run-none run-bridge      some cases
python -m bench --peers docker --runs 5  some engines
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from bench import engines
from bench.cases import CASES, chosen
from bench.contents import Size
from bench.errors import BenchError
from bench.inside import Order
from bench.install import install
from bench.sandbox import sandbox

_CHECKOUT = Path(__file__).parents[1]
_QUIET = 0.7
"""A load average above this means that others work, too."""


def main() -> int:
    """Measures and prints. Gives the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = _parser().parse_args()
    try:
        chosen(arguments.cases)
        peers = installed_peers(arguments.peers)
        if os.geteuid() != 0:
            raise BenchError("only root can give every engine the same place (try sudo)")
        return _measure(arguments, peers)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _measure(arguments: argparse.Namespace, peers: Sequence[str]) -> int:
    if os.getloadavg()[0] > _QUIET:
        print(f"bench: this machine has other work to do (load {os.getloadavg()[0]:.1f})", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as name:
        directory = Path(name)
        program = arguments.sampan or install(directory / "venv")
        size = arguments.image_size
        order = Order(
            f"sampan-bench-{os.getpid()}",
            name,
            arguments.cases,
            peers,
            str(program),
            arguments.runs,
            size.megabytes,
            size.files,
        )
        file = directory / "order.json"
        file.write_text(json.dumps(order._asdict()))
        os.chdir(_CHECKOUT)
        with sandbox(order.name, [sys.executable, "-m", "bench.inside", file]) as process:
            code = process.wait()
        results = directory / "results.json"
        if arguments.json and results.exists():
            shutil.copy(results, arguments.json)
    return code


def installed_peers(names: str | None) -> list[str]:
    """The peers that were asked for and are installed; tells of the others."""
    wanted = engines.PEERS if names is None else [name for name in names.split(",") if name]
    for name in wanted:
        if name not in engines.PEERS:
            raise BenchError(f"there is no peer {name!r} (there are {', '.join(engines.PEERS)})")
        if missing := engines.missing(name):
            print(f"bench: {name} is left out: {' and '.join(missing)} not installed", file=sys.stderr)
    return [name for name in wanted if not engines.missing(name)]


def image_size(text: str) -> Size:
    """``400`` or ``400:13000``: megabytes, and files. Raises ArgumentTypeError or ValueError."""
    megabytes, _, files = text.partition(":")
    size = Size(int(megabytes), int(files) if files else int(megabytes) * 33)
    if size.megabytes < 1 or size.files < 10:
        raise argparse.ArgumentTypeError("an image has a megabyte and ten files at least")
    return size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measures sampan beside the engines that are installed, in turns."
    )
    names = ", ".join(case.name for case in CASES)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"what to measure (default: all): {names}")
    parser.add_argument("--json", metavar="FILE", type=os.path.abspath, help="write every sample there")
    parser.add_argument("--runs", metavar="N", type=_positive, help="how often to measure (default: as the case says)")
    parser.add_argument("--peers", metavar="NAMES", help=f"default: {','.join(engines.PEERS)}")
    parser.add_argument("--sampan", metavar="PATH", type=os.path.abspath, help="measure this program instead")
    parser.add_argument(
        "--image-size",
        metavar="MB[:FILES]",
        type=image_size,
        default=image_size("400:13000"),
        help="of the large image",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
