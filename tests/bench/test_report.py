"""The table and the figures in it."""

import json

from bench import report
from bench.report import Row
from bench.rounds import Result

ROWS = [
    Row("run", "`run`", "ms", {"sampan": Result((40.0, 60.0, 50.0)), "docker": Result((250.0, 300.0))}),
    Row("pull", "pull", "ms", {"sampan": Result((900.0,)), "docker": Result((), "it fell\n  over")}),
]


def test_table_has_a_line_for_each_case_and_a_column_for_each_engine_with_figures() -> None:
    assert report.table(ROWS).splitlines() == [
        "|       |    |      sampan |         docker |",
        "|-------|----|------------:|---------------:|",
        "| `run` | ms | 50.0 (40.0) | 275 (250) 5.5× |",
        "| pull  | ms |   900 (900) |              - |",
    ]


def test_a_ratio_needs_two_figures() -> None:
    assert report.ratio(ROWS[0], "docker") == 5.5
    assert report.ratio(ROWS[1], "docker") is None
    assert report.ratio(ROWS[0], "podman") is None


def test_nothing_is_a_multiple_of_nothing() -> None:
    row = Row("resident", "", "MB", {"sampan": Result((0.0,)), "docker": Result((135.0,))})
    assert report.ratio(row, "docker") is None
    assert report.cell(row, "docker") == "135 (135)"


def test_an_engine_that_was_not_asked_has_an_empty_cell() -> None:
    assert report.cell(ROWS[0], "crun") == ""


def test_a_loss_shows_as_less_than_one() -> None:
    row = Row("ps", "", "ms", {"sampan": Result((30.0,)), "docker": Result((24.0,))})
    assert report.cell(row, "docker") == "24.0 (24.0) 0.80×"


def test_numbers_have_three_digits() -> None:
    assert [report.number(value) for value in (0, 9.516, 48.06, 350.4, 6412.0)] == [
        "0.00",
        "9.52",
        "48.1",
        "350",
        "6,412",
    ]


def test_problems_are_told_in_one_line_each() -> None:
    assert report.problems(ROWS) == ["docker, pull: it fell over"]


def test_document_keeps_every_sample() -> None:
    document = report.document(ROWS, {"kernel": "6.1"})
    assert document["kernel"] == "6.1"
    engines = json.loads(json.dumps(document))["cases"][0]["engines"]
    assert engines["sampan"] == {"samples": [40.0, 60.0, 50.0], "median": 50.0, "minimum": 40.0}
    assert engines["docker"]["ratio"] == 5.5
    assert document["cases"][1]["engines"]["docker"]["problem"] == "it fell\n  over"
