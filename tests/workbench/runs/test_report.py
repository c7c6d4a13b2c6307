"""The report: complete, self-contained, escaped, honest about what is worse."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.runs import plotting
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure
from workbench.runs.report import (
    FigureFile,
    Section,
    Table,
    comparison_report,
    rebuild_report,
    write_index,
    write_report,
)
from workbench.runs.verdicts import Verdict, format_value, judge, summary

FIGURES = {
    "mean_energy": Figure(-42.95, stderr=0.02, reference=-42.93, baseline=-42.931, unit="kT"),
    "energy_w2": Figure(9.0, floor=0.4, baseline=0.5, n=2000),
    "ess_fraction": Figure(0.25, baseline=0.1),
    "pareto_k": Figure(None, why="no weights"),
}


@pytest.fixture
def run(tmp_path):
    with RunFolder.create(tmp_path / "run", {"system": "<lj13>", "a": {"k": 1}}, "toy") as folder:
        folder.write_metrics(FIGURES)
        picture, axes = plotting.new_figure()
        rng = np.random.default_rng(0)
        values = {"ours": rng.normal(size=500), "theirs": rng.normal(size=300)}
        plotting.histograms(
            axes, values, xlabel="energy", unit="kT", weights={"ours": rng.random(500)}
        )
        plotting.save(picture, folder.figures, "energy")
        sections = [
            Section("Sampling", ["5 < 6 & so on"], table=Table(["a", "b"], [["1", "<2>"]])),
            Section(
                "Energy",
                figures=[
                    FigureFile("figures/energy.png", "Energies."),
                    FigureFile(folder.figures / "energy.svg", "Again."),
                ],
            ),
        ]
        write_report(
            folder.path,
            sections,
            meanings={"energy_w2": "distance of energies"},
            higher_is_better=["ess_fraction"],
        )
    return folder.path


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.addresses, self.tags, self.words = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def read(path):
    parser = Tags()
    parser.feed(path.read_text())
    return parser, " ".join(" ".join(parser.words).split())


def test_the_page_stands_alone(run):
    page, _ = read(run / "report.html")
    assert [a.split(";")[0] for a in page.addresses] == ["data:image/png", "data:image/svg+xml"]
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"url\(|@import", (run / "report.html").read_text())


def test_the_page_says_everything(run):
    _, text = read(run / "report.html")
    assert "5 < 6 & so on" in text and "<2>" in text  # escaped in the source
    assert "-42.950 ± 0.020" in text
    assert "agrees with the reference (1.0 standard errors)" in text
    assert "22.5 x the noise floor; the classical baseline is better" in text
    assert "better than the classical baseline" in text
    assert "not computed: no weights" in text
    assert "distance of energies" in text
    assert "The classical baseline is better at the same cost in: energy_w2." in text
    assert f"workbench resume {run}" in text
    assert ", torch 2" in text and "k: 1" in text


def test_it_can_be_rebuilt_after_the_folder_has_moved(run, tmp_path):
    before = (run / "report.html").read_text()
    shutil.move(run, tmp_path / "elsewhere")
    after = rebuild_report(tmp_path / "elsewhere").read_text()
    assert before.count("base64,") == after.count("base64,") == 2
    assert json.loads((tmp_path / "elsewhere" / "report.json").read_text())["schema_version"] == 1


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(InputError, match=r"cannot read picture .*none\.png"):
        write_report(run, [Section("x", figures=[FigureFile("none.png", "")])])
    with pytest.raises(InputError, match="neither PNG nor SVG"):
        write_report(run, [Section("x", figures=[FigureFile("none.gif", "")])])
    (run / "report.json").unlink()
    with pytest.raises(InputError, match="no report yet"):
        rebuild_report(run)
    with pytest.raises(InputError, match="holds no run"):
        rebuild_report(tmp_path)


def test_runs_are_compared_in_one_table(run, tmp_path):
    with RunFolder.create(tmp_path / "second", {"system": "<lj13>", "a": {"k": 2}}, "toy") as other:
        other.write_metrics({"mean_energy": Figure(1.0), "extra": Figure(3)})
    out = comparison_report([run, other.path], tmp_path / "new" / "comparison.html")
    _, text = read(out)
    assert "mean_energy -42.950 ± 0.020 baseline -42.93, reference -42.93 1" in text
    assert "extra - 3" in text and "pareto_k - no weights -" in text
    assert "a.k 1 2" in text


def test_the_index_links_the_reports(run, tmp_path):
    page, text = read(write_index(tmp_path / "index.html", [run]))
    assert page.addresses == ["run/report.html"]
    assert "toy: <lj13>" in text and "Not computed: pareto_k." in text


def test_a_cost_is_no_merit():
    figure = Figure(300, baseline=100)
    assert judge("n_energy_evaluations", figure) == Verdict(None, ["3 x the baseline's"])
    assert judge("seconds/greedy", Figure(300, unit="s")) == Verdict(None)


def test_verdicts():
    assert judge("x", Figure(1.0, stderr=0.1, reference=1.31)).good is False
    assert judge("x", Figure(1.0, stderr=0.1, reference=1.29)).good is True
    assert judge("x", Figure(1.0, reference=1.29)).good is None
    assert judge("x", Figure(38, reference=40)).good is False
    assert judge("x", Figure(40, reference=40)).words == ["equals the reference"]
    assert judge("x", Figure(0.5, floor=0.4)).good is True
    assert judge("x", Figure(0.5, floor=0.0)).words == ["above the floor"]
    p_value = Figure(1e-20, stderr=1e-21, floor=0.5)
    assert judge("x", p_value, True) == Verdict(False, ["below what true samples give"])
    assert judge("x", Figure(0.4, floor=0.5), True) == Verdict(True, ["at the noise floor"])
    assert judge("x", Figure(0.5)).good is None
    assert judge("x", Figure(0.2, baseline=0.1)).words == ["the classical baseline is better"]
    assert judge("x", Figure(0.2, baseline=0.1), True).words == [
        "better than the classical baseline"
    ]
    assert judge("x", Figure(0.2, stderr=0.2, baseline=0.1)).words == [
        "as good as the classical baseline"
    ]
    assert "Not in agreement: a." in summary({"a": Figure(38, reference=40)}, frozenset())


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (-42.93, 0.02, "-42.930 ± 0.020"),
        (1234.5, 12.3, "1,234 ± 12"),
        (1234567, None, "1,234,567"),
        (0.00123456, None, "0.001235"),
        (1e-20, 1e-22, "1e-20 ± 1e-22"),
        (5.60884e-11, 8.8e-11, "5.6e-11 ± 8.8e-11"),
        (0.0, 1e-12, "0 ± 1e-12"),
        (None, None, "-"),
    ],
)
def test_numbers_are_written_to_the_place_of_their_error(value, stderr, text):
    assert format_value(value, stderr) == text


def test_pictures_are_the_same_each_time_and_say_what_they_leave_out(tmp_path):
    def draw(folder):
        figure, (left, right) = plotting.new_figure(columns=2)
        plotting.histograms(left, {"a": [0.0, 0.5, 99.0]}, xlabel="x", interval=(0, 1), bins=4)
        plotting.curve_with_band(right, [0, 1], [0, 1], [0.1, 0.1], label="b")
        plotting.curve_with_band(right, [0, 1], [0, 1], ([0, 0], [1, 1]))
        assert left.get_legend_handles_labels()[1] == ["a (33.3% outside)"]
        return plotting.save(figure, folder, "x").with_suffix(".svg").read_bytes()

    assert draw(tmp_path / "a") == draw(tmp_path / "b")
