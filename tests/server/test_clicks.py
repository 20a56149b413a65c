"""The measurement of a click: on a real server, whose scores are all there before the first one."""

from textseg.server.clicks import Clicks, time_clicks


def test_clicks_are_timed_and_no_process_is_started() -> None:
    found = time_clicks(pictures=12, clicks=6)
    assert (len(found.seconds), len(found.all_seconds), found.processes) == (6, 1, 0)
    assert min(found.seconds) > 0 and found.memory > 100 << 20
    assert "12 scored pictures, 6 clicks: median" in found.told() and found.told().endswith("started 0 processes")


def test_figures_are_told_in_milliseconds() -> None:
    assert "median 20.0 ms, 95th percentile 20.0 ms" in Clicks(5, [0.02] * 9, [0.1]).told()
