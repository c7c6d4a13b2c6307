"""metrics.json: what a figure keeps on its way through the file."""

from __future__ import annotations

import json

from workbench.runs.metrics import Figure, read_metrics, write_metrics


def test_an_interval_is_kept_and_left_out_where_there_is_none(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(path, {"a": Figure(0.5, interval=(0.25, 0.75)), "b": Figure(1)})
    stored = json.loads(path.read_text())
    assert stored["a"]["interval"] == [0.25, 0.75]
    assert "interval" not in stored["b"]
    assert list(read_metrics(path)["a"].interval or ()) == [0.25, 0.75]
    assert read_metrics(path)["b"].interval is None
