"""Benchmarks: their arithmetic, their page, and a run from end to end."""

from __future__ import annotations

import doctest
import gzip
import json
import re
from html import unescape
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest

import vecdb
from tools.bench import __main__ as command
from tools.bench import arguments, churn, comparison, contenders, curves, plot, report
from tools.bench.comparison import compare, gains
from tools.bench.curves import EFS, Beam, Contender, Curve, Point, find_beam, measure_curves
from tools.bench.datasets import DATASETS, Dataset, load_dataset
from tools.bench.exact import Truth
from tools.bench.peers import PEERS, find_peer

ROWS, DIM, QUERIES = 1500, 16, 40


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with files of the data sets' kinds: random rows, as many as it takes for a graph."""
    folder = tmp_path / "private" / "data"
    folder.mkdir(parents=True)
    np.save(folder / "passages.f16.npy", rng.standard_normal((ROWS, DIM)).astype(np.float16))
    np.save(folder / "passages-queries.f16.npy", rng.standard_normal((QUERIES, DIM)).astype(np.float16))
    np.save(folder / "patches.u8.npy", rng.integers(0, 256, (ROWS + 1000, DIM), np.uint8))
    names = ("source", "doc", "kind", "status", "section", "text", "code")
    fields = dict.fromkeys(names, "text") | dict.fromkeys(("year", "position", "words"), 1)
    with gzip.open(folder / "passages.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": f"row {row}", **fields}) + "\n" for row in range(ROWS))
    with gzip.open(folder / "passages-queries.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": f"query {row}", **fields}) + "\n" for row in range(QUERIES))
    return folder


@pytest.fixture
def line() -> tuple[Contender, Truth]:
    """Rows on a line, and a contender that finds one of the 10 nearest for every 4 places of its beam."""
    vectors = np.arange(1, 101, dtype=np.float32)[:, None]
    dataset = Dataset("line", "l2", range(100), vectors, np.zeros((1, 1), np.float32), {}, None)
    contender = Contender(
        "quarter", lambda ef: min(10, ef // 4), lambda found: np.where(np.arange(10) < found, np.arange(10), -1)[None]
    )
    return contender, Truth(dataset, 10)


@pytest.mark.parametrize("module", [arguments, comparison, contenders, plot, report])
def test_docstrings(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_curve_ends_where_recall_is_enough(line: tuple[Contender, Truth], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_TURN_SECONDS", 1e-9)
    contender, truth = line
    measured = measure_curves([contender], truth, 1)["quarter"]
    assert [point.ef for point in measured] == [ef for ef in EFS if ef <= 40]
    assert [point.recall for point in measured] == pytest.approx([ef // 4 / 10 for ef in EFS if ef <= 40])
    assert find_beam(contender, truth, measured, 0.9) == Beam(36, 0.9)
    assert find_beam(contender, truth, measured, 0.1) == Beam(10, 0.2)
    assert find_beam(contender, truth, measured[:3], 0.9) is None


def test_speeds_are_compared_at_equal_recall() -> None:
    ours = [Point(10, 0.9, 4000.0), Point(20, 0.95, 3000.0), Point(40, 0.99, 1000.0)]
    theirs = [Point(10, 0.85, 4000.0), Point(20, 0.95, 1000.0), Point(40, 0.98, 500.0)]
    compared = compare({"vecdb": ours, "peer": theirs})
    assert compared.qps_at_recall["peer"] == {
        "0.90": pytest.approx(2000.0),
        "0.95": pytest.approx(1000.0),
        "0.99": None,
    }
    assert compared.speed_to_peers == {"peer": {"0.90": pytest.approx(2.0), "0.95": pytest.approx(3.0), "0.99": None}}
    assert "not reached" in compared.at_equal_recall("")
    assert gains(ours, theirs) == {10: 1.0, 20: 3.0, 40: 2.0}


def test_a_drawing_shows_every_point_of_some_recall() -> None:
    points: dict[str, Curve] = {
        "a < b": [Point(10, 0.5, 90_000.0), Point(20, 0.8, 1000.0), Point(30, 1.0, 99.0)],
        "nothing": [],
    }
    style = plot.Style("black", "M0 0", 1)
    drawing = ElementTree.fromstring(plot.draw(points, dict.fromkeys(points, style)))
    titles = [title.text for title in drawing.iter("title")]
    assert titles[:2] == ["a < b, ef 20: recall 0.8000, 1,000 queries/s", "a < b, ef 30: recall 1.0000, 99 queries/s"]
    assert [text.text for text in drawing.iter("text")][:6] == ["50", "100", "200", "500", "1,000", "2,000"]


def test_searches_are_measured_from_end_to_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """vecdb alone, as where no peer is installed; the page and the file say what the tables say, and name no folder."""
    monkeypatch.setattr(curves, "_TURN_SECONDS", 1e-9)
    figures, page = tmp_path / "private" / "out.json", tmp_path / "private" / "out.html"
    words = ["search", "--data", f"{data}/", f"--json={figures}", "--plot", str(page), "--scratch", str(tmp_path)]
    assert command.main([*words, "--datasets", "passages", "--peers", "", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    result = json.loads(figures.read_text())["datasets"]["passages"]
    assert result["rows"] == ROWS
    assert result["build_seconds"].keys() == result["speed"]["curves"].keys() == {"vecdb"}
    assert result["speed"]["curves"]["vecdb"][-1]["recall"] >= 0.998
    assert result["speed"]["speed_to_peers"] == {}
    assert result["beside_hnswlib"]["beams"]["vecdb"]["recall"] >= 0.95
    shown = unescape(page.read_text())
    assert re.findall(r"<pre>(.*?)</pre>", shown, re.DOTALL)[0] in printed
    assert "private" not in figures.read_text() + shown


def test_churn_is_measured_from_end_to_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(churn, "_CALLS", 2)
    checked, check = [], churn._check

    def check_some(db: vecdb.Database) -> None:
        checked.append(db)
        if len(checked) % 10 == 1:  # each starts a process
            check(db)

    monkeypatch.setattr(churn, "_check", check_some)
    figures = tmp_path / "out.json"
    words = ["churn", "--data", str(data), "--json", str(figures), "--scratch", str(tmp_path)]
    assert command.main([*words, "--datasets", "patches"]) == 0
    result = json.loads(figures.read_text())["datasets"]["patches"]
    assert {name: len(run["moments"]) for name, run in result["churns"].items()} == {
        "random": 22,
        "neighbourhoods": 12,
        "window": 26,
        "extremes": 7,  # when all rows are gone there is nothing to look at
    }
    for run in result["churns"].values():
        rows = [moment["rows"] for moment in run["moments"].values()]
        assert min(rows[:-1:2]) < rows[1] == rows[-1] == result["rows"]
        assert min(moment["recall"] for moment in run["moments"].values()) >= 0.99
        assert {moment["unreachable"] for moment in run["moments"].values()} == {0}
    assert "window: churn" in capsys.readouterr().out


def test_concurrency_is_measured_from_end_to_end(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "out.json"
    words = ["concurrency", "--data", str(data), "--json", str(figures), "--scratch", str(tmp_path)]
    assert command.main([*words, "--datasets", "passages", "--seconds", "0.2", "--bulk", "1000"]) == 0
    result = json.loads(figures.read_text())["datasets"]["passages"]
    assert result["catch_up"].keys() == {"1", "1000"}
    assert min(result["flood"]["beside"], result["flood"]["writer_rows"], *result["two_writers"]) > 0
    assert result["idle"]["p50"] <= result["idle"]["p99"]
    assert "two writers" in capsys.readouterr().out


def test_sql_is_measured_from_end_to_end(data: Path, tmp_path: Path) -> None:
    figures = tmp_path / "out.json"
    assert command.main(["sql", "--data", str(data), "--json", str(figures), "--scratch", str(tmp_path)]) == 0
    results = json.loads(figures.read_text())["datasets"]
    assert [len(results[name]["pairs"]) for name in ("passages", "patches")] == [3, 1]
    assert all(pair["python"] > 0 and pair["sql"] > 0 for name in results for pair in results[name]["pairs"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finds_the_neighbours(data: Path, name: str) -> None:
    """Each metric is told to it in its own way. A wide beam finds nearly all, and some beam is too narrow."""
    peer = find_peer(name)
    if peer is None:
        pytest.skip(f"{name} is not installed")
    for dataset in (load_dataset(kind, data, None) for kind in DATASETS):
        truth, (index, _) = Truth(dataset, 10), peer.build(dataset, 1)
        narrow, wide = (truth.recall(index.search(dataset.queries, 10, ef, 1).astype(np.int64)) for ef in (10, 200))
        assert 0.5 < narrow < wide
        assert wide > 0.98
