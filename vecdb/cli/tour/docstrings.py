"""The docstrings of the standard library: real text that every machine with Python has."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SKIPPED_FOLDERS = frozenset({"dist-packages", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"})
MIN_LENGTH = 20


@dataclass(frozen=True)
class Docstring:
    """What a module, class, function or method says about itself."""

    name: str  # qualified, as "shutil.copytree"
    module: str
    kind: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.split("\n", 1)[0]


def read_docstrings(most: int | None = None) -> list[Docstring]:
    """Every docstring of a public name, in the same order on each run; where a name stands twice, the first. With
    `most`, only about so many.

    Sources are parsed, never imported: to import some modules is to run a program.
    """
    library = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Docstring] = {}
    for path in sorted(library.rglob("*.py")):
        *folders, stem = path.relative_to(library).with_suffix("").parts
        names = folders if stem == "__init__" else [*folders, stem]
        if SKIPPED_FOLDERS.isdisjoint(folders) and all(map(_is_public, names)):
            for docstring in _docstrings_of(_parse(path), ".".join(names), ".".join(names), "module"):
                found.setdefault(docstring.name, docstring)
        if most is not None and len(found) >= most:
            break
    return list(found.values())


def _parse(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old modules have escape sequences that newer Pythons warn of
        return ast.parse(path.read_bytes())


def _docstrings_of(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str, module: str, kind: str
) -> Iterator[Docstring]:
    text = ast.get_docstring(node)
    if text is not None and len(text) >= MIN_LENGTH:
        yield Docstring(name, module, kind, text)
    if kind in ("function", "method"):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef) and _is_public(child.name):
            yield from _docstrings_of(child, f"{name}.{child.name}", module, "class")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and _is_public(child.name):
            inner = "method" if kind == "class" else "function"
            yield from _docstrings_of(child, f"{name}.{child.name}", module, inner)


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")
