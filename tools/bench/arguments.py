"""Kinds of arguments on the command line: what argparse calls with their text."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path

from vecdb.index.threads import usable_cores


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def threads(text: str) -> int:
    number, cores = positive(text), usable_cores()
    if number > cores:
        raise argparse.ArgumentTypeError(f"there are only {cores} cores to use")
    return number


def folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path


def output(text: str) -> Path:
    file = Path(text)
    folder(str(file.parent))
    return file


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """A list of known names, separated by commas; an empty text names none.

    >>> names_of(["a", "b", "c"])("c,a"), names_of(["a"])("")
    (['c', 'a'], [])
    """

    def names(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return chosen

    return names
