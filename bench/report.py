"""What was measured, as a table that Markdown understands too, and as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.rounds import Result

SUBJECT = "sampan"


class Row(NamedTuple):
    """A case as it was measured: ``unit`` is "ms" or "MB"."""

    name: str
    title: str
    unit: str
    results: Mapping[str, Result]


def ratio(row: Row, name: str) -> float | None:
    """How many times sampan's median an engine's is; None where either has no number, or sampan's is 0."""
    ours, theirs = (row.results.get(each, Result(())).samples for each in (SUBJECT, name))
    if not ours or not theirs or not statistics.median(ours):
        return None
    return statistics.median(theirs) / statistics.median(ours)


def cell(row: Row, name: str) -> str:
    """Median, minimum in brackets, and the ratio to sampan: ``266 (250) 5.9×``."""
    result = row.results.get(name)
    if result is None:
        return ""
    if not result.samples:
        return "-"
    text = f"{number(statistics.median(result.samples))} ({number(min(result.samples))})"
    times = ratio(row, name)
    return text if name == SUBJECT or times is None else f"{text} {_times(times)}×"


def _times(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def number(value: float) -> str:
    """Three digits, and none after the point that do not count: ``9.52``, ``48.1``, ``350``, ``6,412``."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Row]) -> str:
    """All cases, a line for each, and a column for each engine that has a number somewhere."""
    names = list(dict.fromkeys(name for row in rows for name, result in row.results.items() if result.samples))
    lines = [["", "", *names]]
    lines += [[row.title, row.unit, *(cell(row, name) for name in names)] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    aligned = [
        "| " + " | ".join(_align(text, widths, column) for column, text in enumerate(line)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if column > 1 else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([aligned[0], rule, *aligned[1:]])


def _align(text: str, widths: Sequence[int], column: int) -> str:
    return text.rjust(widths[column]) if column > 1 else text.ljust(widths[column])


def problems(rows: Sequence[Row]) -> list[str]:
    """A sentence for each number that is missing."""
    return [
        f"{name}, {row.name}: {' '.join(result.problem.split())}"
        for row in rows
        for name, result in row.results.items()
        if result.problem
    ]


def document(rows: Sequence[Row], about: Mapping[str, Any]) -> dict[str, Any]:
    """Everything for ``--json``: each sample, in milliseconds or megabytes."""
    return {
        **about,
        "cases": [
            {
                "name": row.name,
                "title": row.title,
                "unit": row.unit,
                "engines": {name: _engine(row, name) for name in row.results},
            }
            for row in rows
        ],
    }


def _engine(row: Row, name: str) -> dict[str, Any]:
    result = row.results[name]
    known: dict[str, Any] = {"samples": result.samples}
    if result.samples:
        known |= {"median": statistics.median(result.samples), "minimum": min(result.samples)}
    if name != SUBJECT and (times := ratio(row, name)) is not None:
        known["ratio"] = times
    if result.problem:
        known["problem"] = result.problem
    return known


def line(row: Row) -> str:
    """A case in one line, while the others are still being measured."""
    cells = (f"{name} {cell(row, name)}" for name, result in row.results.items() if result.samples)
    return f"{row.name}: {', '.join(cells)} {row.unit}"


def text(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The table, and all that is needed to understand it."""
    size = about["large_image"]
    notes = [
        f"{about['date']}, kernel {about['kernel']}, {about['cpus']} processors, {about['memory_gb']} GB of memory.",
        f"The load average was {about['load_before']} before the run; above 0.7, times are too long.",
        *(f"{name}: {version}" for name, version in about["versions"].items()),
        f"The large image has {size['megabytes']} MB in {size['files']:,} files. All data lie in memory (tmpfs).",
        "Median, in brackets the minimum, then how many times sampan's median it is.",
        *problems(rows),
    ]
    return "\n".join([table(rows), "", *notes])
