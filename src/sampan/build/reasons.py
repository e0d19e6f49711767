"""Why a step is performed and not taken from the cache: what each step of a project's last build was made of, compared
with what it would be made of now.

Of every input only the beginning of a digest is kept, so that nothing of an argument's value or of a file can be read
from it. An unchanged step costs one row that is read, and nothing is written for it.
"""

from __future__ import annotations

import stat
import time
from itertools import chain

from sampan.build.graph import Copy, MakeDirectory, Run
from sampan.oci.digest import sha256
from sampan.store.database import transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, NamedTuple

    from sampan.build.graph import Step

    Inputs = dict[str, str]
    """By what people call an input: a few digits of its digest, for a file its mode before them."""
    Facts = list[tuple[bytes, tuple[Any, ...]]]
    """What ``source.content_key`` saw of files: path, name, mode, and the rest."""
else:
    from sampan.values import NamedTuple

PARENT = "what it builds on"
NO_SUCH_STEP = "it was not in the last build of this directory"
FILE = "file "
_SHOWN = 10
_SEPARATOR = "\0"  # in no file's name, and no argument's
_DIGITS = 12


class Made(NamedTuple):
    """A step of the last build. ``made`` is when it was performed (seconds since 1970; 0: not since this is noted)."""

    stage: str
    number: int
    step: str
    key: str
    made: int
    reason: str
    inputs: Inputs


class Reasons:
    """One project's: a context, a Dockerfile and a target. ``steps`` are all of the build that goes on."""

    __slots__ = ("_db", "_known", "_noted", "_places", "_project", "_texts", "_told")

    def __init__(self, db: sqlite3.Connection, project: str, steps: Iterable[Step]) -> None:
        self._db = db
        self._project = project
        self._places: dict[int, tuple[str, int]] = {}
        counts: dict[str, int] = {}
        self._texts = set()
        for step in steps:
            counts[step.stage] = counts.get(step.stage, 0) + 1
            self._places[id(step)] = step.stage, counts[step.stage]
            self._texts.add((step.stage, step.text))
        rows = db.execute("SELECT stage, number, step, key, made, reason FROM build_step WHERE project=?", (project,))
        self._known = {(row[0], row[1]): Made(row[0], row[1], row[2], row[3], row[4], row[5], {}) for row in rows}
        self._noted: dict[int, tuple[Step, str, Callable[[], Inputs], bool]] = {}
        self._told: dict[int, tuple[str, bytes]] = {}

    def note(self, step: Step, key: str, describe: Callable[[], Inputs], *, performed: bool) -> None:
        """Told of each step that was performed or taken from the cache. May be called from several threads."""
        self._noted[id(step)] = (step, key, describe, performed)

    def prepare(self, step: Step, inputs: Inputs) -> None:
        """Works out what will be written down of a step that is performed; for moments in which others work."""
        self._told[id(step)] = self._tell(step, inputs, performed=True)

    def _tell(self, step: Step, inputs: Inputs, *, performed: bool) -> tuple[str, bytes]:
        from isal import isal_zlib

        packed = isal_zlib.compress(_SEPARATOR.join(chain.from_iterable(inputs.items())).encode(), 1)
        return self.explain(step, inputs) if performed else "", packed

    def save(self) -> None:
        """Writes down what differs from the last build."""
        rows = []
        for step, key, describe, performed in self._noted.values():
            last = self._known.get(self._places[id(step)])
            if last and (last.key, last.step) == (key, step.text) and not performed:
                continue
            reason, packed = self._told.get(id(step)) or self._tell(step, describe(), performed=performed)
            made = int(time.time()) if performed else 0
            rows.append((self._project, *self._places[id(step)], step.text, key, made, reason, packed))
        if rows:
            with transaction(self._db):
                self._db.executemany("INSERT OR REPLACE INTO build_step VALUES (?,?,?,?,?,?,?,?)", rows)

    def last(self, step: Step) -> Made | None:
        """The step in the last build: the one of the same words, else the one in the same place that is gone now."""
        found = self._last(step)
        inputs = self._inputs(found) if found else None
        return found._replace(inputs=inputs) if found and inputs is not None else None

    def last_key(self, step: Step) -> str | None:
        """The key that the step had in the last build."""
        found = self._last(step)
        return found and found.key

    def _last(self, step: Step) -> Made | None:
        stage, number = self._places[id(step)]
        same = [made for made in self._known.values() if (made.stage, made.step) == (stage, step.text)]
        found = min(same, key=lambda made: abs(made.number - number), default=None)
        if found is None:
            found = self._known.get((stage, number))
            if found and (stage, found.step) in self._texts:
                return None
        return found

    def explain(self, step: Step, inputs: Inputs) -> str:
        """What differs from the last build, in a few clauses."""
        last = self.last(step)
        if last is None:
            return NO_SUCH_STEP
        return differences(last.inputs, inputs) or "nothing changed, but the cache no longer has what it led to"

    def _inputs(self, made: Made) -> Inputs | None:
        """None if they were pruned meanwhile."""
        import zlib

        where = (self._project, made.stage, made.number)
        row = self._db.execute(
            "SELECT inputs FROM build_step WHERE project=? AND stage=? AND number=?", where
        ).fetchone()
        if row is None:
            return None
        words = iter(zlib.decompress(row[0]).decode().split(_SEPARATOR))
        return dict(zip(words, words, strict=True))


def describe(
    step: Step, parent: str | None, around: Mapping[str, object], shown: Mapping[str, object], files: Facts
) -> Inputs:
    """The inputs of ``step``, which lies on ``parent`` (a chain id).

    ``around`` are those from outside of the Dockerfile, ``shown`` what is mounted or fetched.
    """
    values: dict[str, object] = {PARENT: parent, **around, **shown}
    if isinstance(step, Run):
        values |= {"the command": step.argv, "USER": step.user, "WORKDIR": step.cwd, "--network": step.network}
        values |= {"--security": "insecure"} if step.insecure else {}
        values |= {f"the variable {entry.partition('=')[0]}": entry for entry in step.env}
        values |= {f"the argument {name}": value for name, value in step.args}
    elif isinstance(step, MakeDirectory):
        values |= {"the path": step.path, "USER": step.user}
    elif isinstance(step, Copy):
        values |= {"the destination": step.dest, "--chown": step.chown, "--chmod": step.chmod, "--link": step.link}
        values |= {"--unpack": step.unpack, "--parents": step.parents}
        values |= {f"the here-document {name}": content for name, content in step.inline}
    inputs = {name: _short(repr(value)) for name, value in values.items()}
    for path, (_, mode, *rest) in files:
        is_plain = stat.S_ISREG(mode) and len(rest) == 1
        content = str(rest[0])[:_DIGITS] if is_plain else _short(repr((mode & ~0o7777, *rest)))
        inputs[FILE + path.decode(errors="backslashreplace")] = f"{mode & 0o7777:o} {content}"
    return inputs


def differences(old: Inputs, new: Inputs) -> str:
    """What changed from ``old`` to ``new``; empty if nothing did."""
    changed = sorted(name for name, value in new.items() if old.get(name, value) != value)
    added, removed = sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys())
    found = [f"{PARENT} changed"] if PARENT in changed else []
    others = [(name, "changed") for name in changed if name != PARENT]
    others += [(name, "is new") for name in added] + [(name, "is gone") for name in removed]
    found += [f"{name} {how}" for name, how in others if not name.startswith(FILE)]
    content = [name for name in changed if old[name].split()[1:] != new[name].split()[1:]]
    found += _files("changed", content)
    for name in (name for name in changed if name.startswith(FILE) and name not in content):
        found.append(f"{name[len(FILE) :]} has mode {new[name].split()[0]} and had {old[name].split()[0]}")
    return "; ".join([*found[: 2 * _SHOWN], *_files("added", added), *_files("removed", removed)])


def _files(how: str, names: Sequence[str]) -> list[str]:
    """One clause for all files among ``names``."""
    files = [name[len(FILE) :] for name in names if name.startswith(FILE)]
    if not files:
        return []
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return [f"{how}: {', '.join(files[:_SHOWN])}{more}"]


def _short(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape")).encoded[:_DIGITS]
