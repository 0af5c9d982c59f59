"""The bench's statistics and its table."""

from tests.bench.figures import MILLISECONDS, NOTHING, SPEED, Row, ratio, stall, summary, table
from voxraga_operator.cli.bench.figures import percentile


def test_percentiles_are_values_that_were_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, q) for q in (0.0, 0.5, 0.9, 1.0)] == [1.0, 3.0, 5.0, 5.0]


def test_a_stream_that_is_ahead_of_its_listener_makes_nobody_wait() -> None:
    assert stall([(0.2, 0.3), (0.4, 1.0), (1.0, 1.0)]) == 0.0


def test_a_listener_waits_for_what_comes_too_late() -> None:
    # plays until 0.3, waits 0.2, plays until 0.6, waits 0.4
    assert round(stall([(0.1, 0.2), (0.5, 0.1), (1.0, 1.0)]), 6) == 0.6


def test_a_summary_has_the_median_and_the_extremes() -> None:
    assert summary([0.3, 0.1, 0.2], MILLISECONDS) == "200 ms (100 to 300)"
    assert summary([2.0], SPEED) == "2.00 s/s (1 trial)"
    assert summary([], SPEED) == NOTHING


def test_ratios_say_how_much_shorter_or_how_much_more() -> None:
    assert ratio(Row("latency", MILLISECONDS, inverse=True, ours=[0.1], theirs=[2.0])) == "1/20.0"
    assert ratio(Row("latency", MILLISECONDS, inverse=True, ours=[3.0], theirs=[2.0])) == "1.50"
    assert ratio(Row("throughput", SPEED, ours=[3.0, 9.0, 4.0], theirs=[2.0])) == "2.00"
    assert ratio(Row("ours alone", SPEED, ours=[3.0])) == NOTHING


def test_the_table_leaves_out_what_was_not_measured() -> None:
    rows = [Row("a", SPEED, "≥ 2", ours=[4.0], theirs=[2.0]), Row("b", SPEED)]
    assert table(rows).splitlines() == [
        "| measured | voxraga | tts-server | ours / theirs | aim |",
        "| --- | --- | --- | --- | --- |",
        "| a | 4.00 s/s (1 trial) | 2.00 s/s (1 trial) | 2.00 | ≥ 2 |",
    ]
