"""Every command, for people and for programs; errors in a line, and never a traceback."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import vecdb
from tests.maintenance.vandals import fill
from vecdb.cli.main import _COMMANDS, main


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cli") / "notes.vecdb"
    fill(place)
    return place


@pytest.fixture
def file(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path / "notes.vecdb"))


def run(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def answer(*words: object, stdin: str | None = None) -> Any:
    """What a command says to programs: one value, or a list where it says many."""
    result = run(*words, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return lines[0] if len(lines) == 1 else lines


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name} ")
    assert "--json" in result.output
    assert name in run("--help").output


def test_help_alone_is_enough_to_back_up_and_restore() -> None:
    text = run("--help").output
    for line in ("vecdb backup notes.vecdb monday.vecdb", "--since monday.vecdb", "vecdb restore ", "Exit codes"):
        assert line in text


def test_looking(file: Path) -> None:
    assert answer("info", file)["rows"] == 1526
    assert "1,526" in run("info", file).output
    assert [table["name"] for table in answer("tables", file)] == ["notes", "photos"]
    assert "vector (16 cosine float32)" in run("tables", file).output
    assert answer("schema", file, "notes")["fields"]["tags"] == "list[str]"
    assert "indexed" in run("schema", file, "notes").output
    assert answer("count", file, "notes")["count"] == 1491
    assert run(
        "count", file, "notes", "--where", "year = ? AND lang = ?", "--param", "1991", "--param", "de"
    ).output == (f"{answer('count', file, 'notes', '--where', 'year = 1991')['count']}\n")
    stats = answer("stats", file)
    assert stats["tables"]["notes"]["tombstones"] == 29
    assert "waiting for vacuum" in run("stats", file).output
    assert answer("vacuum", file) == {"repaired": stats["tables"]["notes"]["columns"]["vector"]["waiting"]}
    assert "0 deleted rows" in run("vacuum", file).output
    assert answer("compact", file)["bytes"] > 0
    assert answer("stats", file)["tables"]["notes"]["tombstones"] == 0
    assert "bytes smaller" in run("compact", file).output
    assert answer("vacuum", file, "--secure") == {"repaired": 0}


def test_rows(file: Path) -> None:
    row = answer("get", file, "notes", "3", "--vectors")
    assert row["id"] == 3
    assert len(row["vectors"]["vector"]) == 16
    assert [row["id"] for row in answer("get", file, "notes", "3", "n4")] == [3, "n4"]
    assert "rides along 4" in run("get", file, "notes", "n4").output
    missing = run("get", file, "notes", "none")
    assert (missing.exit_code, missing.stderr) == (1, "Error: table 'notes' has no row 'none'\n")
    rows = answer("scan", file, "notes", "--where", "year < 1992", "--order", "-year", "--limit", 3, "--offset", 1)
    assert [row["fields"]["year"] for row in rows] == [1991, 1991, 1991]
    text = run("scan", file, "notes", "--fields", "year,title").output.splitlines()
    assert text[0].split() == ["id", "year", "title"]
    assert len(text) == 2 + 1491


def test_search(file: Path, tmp_path: Path) -> None:
    with vecdb.connect(file) as db:
        table = db.table("notes")
        row = table.get(3, vectors=True)
        assert row is not None
        assert row.vector is not None
        vector = row.vector
        expected = table.search(vector, k=5).ids
    np.save(tmp_path / "q.npy", vector)
    (tmp_path / "q.json").write_text(json.dumps(vector.tolist()))
    for given, stdin in (
        (tmp_path / "q.npy", None),
        (tmp_path / "q.json", None),
        (json.dumps(vector.tolist()), None),
        ("-", json.dumps(vector.tolist())),
    ):
        assert [
            hit["id"] for hit in answer("search", file, "notes", "--vector", given, "-k", 5, stdin=stdin)
        ] == expected
    like = answer("search", file, "notes", "--like", "3", "-k", 4)
    assert [hit["id"] for hit in like] == expected[1:]
    assert like[0]["distance"] > 0
    text = run("search", file, "notes", "--like", "3", "--where", "lang = 'de'", "--plan", "--exact")
    assert "distance" in text.stdout
    assert "exact scan" in text.stderr
    for words in ([], ["--like", "3", "--vector", "[1]"]):
        assert run("search", file, "notes", *words).exit_code == 2
    for words in (["--like", "none"], ["--vector", "[1"], ["--vector", "none.npy"], ["--vector", "[1, 2]"]):
        result = run("search", file, "notes", *words)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
    assert run("search", file, "photos", "--like", "7").exit_code == 1
    assert len(answer("search", file, "photos", "--like", "7", "--column", "a")) == 10


def test_import(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("key,year,title\na,2020,x\nb,2021,y\n")
    np.save(tmp_path / "v.npy", np.eye(2, 5))
    file, rows = tmp_path / "new.vecdb", tmp_path / "rows.csv"
    words = [
        "--vectors",
        tmp_path / "v.npy",
        "--id",
        "key",
        "--type",
        "year:int",
        "--index",
        "year",
        "--rename",
        "title=t",
    ]
    made = answer("import", file, "notes", rows, *words, "--metric", "l2", "--no-progress")
    assert made == {"imported": 2, "rows": 2}
    assert answer("schema", file, "notes")["vectors"]["vector"]["dim"] == 5
    assert answer("get", file, "notes", "b")["fields"] == {"year": 2021, "t": "y"}
    assert "twice" not in run("import", file, "notes", rows, *words, "--replace").output
    again = run("import", file, "notes", rows, *words)
    assert again.exit_code == 1
    assert "upsert replaces it" in again.stderr
    (tmp_path / "rows.jsonl").write_text('{"e": [1, 2]}\n')
    more = answer("import", file, "other", tmp_path / "rows.jsonl", "--vector-from", "e", "--dim", 2)
    assert more == {"imported": 1, "rows": 1}
    assert run("import", file, "third", tmp_path / "rows.jsonl", "--vector-from", "e").exit_code == 2


def test_care(file: Path, tmp_path: Path) -> None:
    full, increment = tmp_path / "full.vecdb", tmp_path / "second.increment"
    assert answer("backup", file, full)["since"] is None
    with vecdb.connect(file) as db:
        db.table("notes").delete(3)
    assert answer("backup", file, increment, "--since", full)["since"] == str(full)
    assert run("backup", file, full).exit_code == 1
    assert "full backup of version" in run("backup", file, tmp_path / "third.vecdb").output
    assert answer("restore", increment, tmp_path / "restored.vecdb") == {"path": str(tmp_path / "restored.vecdb")}
    assert answer("count", tmp_path / "restored.vecdb", "notes")["count"] == 1490
    assert answer("dump", file, tmp_path / "out") == {"path": str(tmp_path / "out")}
    assert "made" in run("load", tmp_path / "out", tmp_path / "loaded.vecdb").output
    assert answer("count", tmp_path / "loaded.vecdb", "notes")["count"] == 1490
    assert answer("check", file)["ok"] is True
    assert "is sound (quick check" in run("check", file, "--quick").output
    spoilt = bytearray(file.read_bytes())
    spoilt[spoilt.index(b"rides along 500")] ^= 1
    file.write_bytes(spoilt)
    found = run("check", file)
    assert found.exit_code == 3
    assert "row in slot 500: does not match its checksum" in found.output
    assert json.loads(run("check", file, "--json").stdout)["ok"] is False
    recovered = answer("recover", file, tmp_path / "recovered.vecdb")
    assert recovered["tables"]["notes"]["rows"] == 1489
    assert "n500" in run("recover", file, tmp_path / "again.vecdb").output


def test_bench_of_a_table(file: Path) -> None:
    before = file.read_bytes()
    found = answer("bench", file, "notes", "--queries", 40, "-k", 5, "--no-peer")
    assert (found["dim"], found["metric"]) == (16, "cosine")
    assert found["recall"] > 0.9
    assert [point["ef"] for point in found["curves"]["vecdb"]] == [10, 20, 40, 80, 160, 320]
    assert found["curves"]["vecdb"][-1]["recall"] >= 0.99
    assert "hnswlib" not in found["curves"]
    assert file.read_bytes() == before
    assert "recall@3" in run("bench", file, "photos", "--column", "a", "--queries", 5, "-k", 3).output
    for words, status in ((["notes", "--column", "none"], 1), (["photos"], 1), ([], 1), (["notes", "-k", 0], 2)):
        assert run("bench", file, *words).exit_code == status


def test_bench_of_made_up_vectors() -> None:
    """With hnswlib beside it where it is installed."""
    found = answer("bench", "--rows", 1500, "--dim", 8, "--queries", 30)
    assert found["rows"] == 1500
    assert found["load_seconds"] > 0
    assert found["curves"]["vecdb"][-1]["recall"] >= 0.99
    installed = importlib.util.find_spec("hnswlib") is not None
    assert set(found["curves"]) == ({"vecdb", "hnswlib"} if installed else {"vecdb"})


def test_demo(tmp_path: Path) -> None:
    kept = tmp_path / "kept.vecdb"
    result = run(
        "demo", "--rows", 300, "--keep", kept, "--json", "--no-progress", "parse abstract syntax trees", "qqqqq"
    )
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["rows"] == answer("count", kept, "docstrings")["count"] >= 300
    assert figures["answers"]["parse abstract syntax trees"][0].startswith("ast")
    assert figures["answers"]["qqqqq"] == []
    assert "The hits are those of before" in result.stderr
    assert run("demo", "--keep", kept).exit_code == 2


def test_errors_are_a_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no database" * 1000)
    for words in (
        ["info", tmp_path / "none"],
        ["info", tmp_path / "text"],
        ["restore", tmp_path / "none", tmp_path / "r"],
        ["load", tmp_path / "none", tmp_path / "r"],
        ["dump", tmp_path / "none", tmp_path / "r"],
        ["recover", tmp_path / "text", tmp_path / "r"],
        ["vacuum", tmp_path / "none"],
    ):
        result = run(*words)
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
    assert run("nonsense").exit_code == 2
    assert [item.name for item in tmp_path.iterdir()] == ["text"]


def test_a_filter_that_is_wrong(file: Path) -> None:
    result = run("count", file, "notes", "--where", "year = ")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr


def test_it_runs_as_a_program(file: Path) -> None:
    code = "from vecdb.cli.main import main; main(prog_name='vecdb')"
    version = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"vecdb, version {vecdb.__version__}\n"
    # A reader that leaves early, such as `head`.
    command = [sys.executable, "-c", code, "scan", str(file), "notes", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_completion() -> None:
    result = CliRunner().invoke(main, [], prog_name="vecdb", env={"_VECDB_COMPLETE": "bash_source"})
    assert "_vecdb_completion" in result.output
