"""What the documentation shows is what happens."""

from __future__ import annotations

import doctest
import inspect
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import vecdb
from vecdb.cli.main import main
from vecdb.filters import column
from vecdb.storage import geometry

ROOT = Path(__file__).parents[1]


def test_the_readmes_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each block of Python prints the block of text after it."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for code, output in blocks:
        exec(compile(code, "README.md", "exec"), names)
        assert capsys.readouterr().out == output


def test_the_readmes_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command of the blocks of a console prints what is below it, on the file that the examples left."""
    test_the_readmes_examples(tmp_path, monkeypatch, capsys)
    (block,) = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shown = re.findall(r"^\$ vecdb (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    assert len(shown) == block.count("$ ")
    for line, expected in shown:
        result = CliRunner().invoke(main, shlex.split(line))
        assert result.exit_code == 0, result.output
        printed = "\n".join(line.rstrip() for line in result.output.splitlines()) + "\n"
        pattern = re.escape(expected).replace(re.escape("…"), ".*")
        assert re.fullmatch(pattern, printed), f"vecdb {line}\n{printed}"


def test_docstrings(tmp_path: Path) -> None:
    for module, names in ((vecdb, {"path": tmp_path / "doc.vecdb"}), (geometry, {}), (column, {})):
        results = doctest.testmod(module, extraglobs=names)
        assert results.attempted > 0
        assert results.failed == 0


def test_public_names_are_pinned() -> None:
    errors = [name for name, value in vars(vecdb.errors).items() if inspect.isclass(value)]
    others = [
        "BatchHits",
        "Column",
        "ColumnStats",
        "ReaderStats",
        "Snapshot",
        "TableView",
        "Database",
        "DatabaseStats",
        "Filter",
        "Hit",
        "Hits",
        "Plan",
        "Problem",
        "Report",
        "Row",
        "Table",
        "TableStats",
        "Transaction",
        "Vector",
    ]
    others += ["Backup", "check", "col", "connect", "dump", "load", "Recovery", "TableRecovery", "recover", "restore"]
    assert sorted(vecdb.__all__) == sorted([*errors, *others])
    for error in errors:
        assert issubclass(getattr(vecdb, error), vecdb.Error)
    promised = """
        DatabaseNotFoundError NotAVecdbError FormatVersionError CorruptionError StorageFullError StorageIOError
        ReadOnlyError LockTimeoutError StaleHandleError TransactionError TableNotFoundError TableExistsError
        RowNotFoundError DuplicateIdError IdError VectorError FieldError FilterError SqlError BackupError LimitError
        DatabaseError OperationalError IntegrityError ProgrammingError DataError NotSupportedError
    """
    assert set(promised.split()) <= set(errors)
    drawn = set(re.findall(r"\w+Error", vecdb.errors.__doc__ or ""))
    assert drawn == set(errors) - {"Error"}


def test_every_public_name_is_documented() -> None:
    for name in vecdb.__all__:
        thing = getattr(vecdb, name)
        assert thing.__doc__, name
        for member, value in vars(thing).items() if inspect.isclass(thing) else []:
            if not member.startswith("_") and (callable(value) or isinstance(value, property)) and name != "Hits":
                assert value.__doc__, f"{name}.{member}"


def test_documents_name_files_that_exist() -> None:
    for document in ROOT.rglob("*.md"):
        if ".venv" in document.parts[len(ROOT.parts)]:
            continue
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document} links to {link}"
