"""Progress of long calls: a bar, a callback, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from vecdb.errors import ProgrammingError

Progress: TypeAlias = bool | Callable[[int, int], object] | None


@contextmanager
def reporting(progress: Progress, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number done so far, at the end with `total`."""
    if progress is None or progress is False:
        yield lambda done: None
    elif progress is True:
        from tqdm.auto import tqdm

        with tqdm(total=total, desc=what, unit=" rows") as bar:

            def move(done: int) -> None:
                bar.update(done - bar.n)

            yield move
    elif callable(progress):
        call = progress

        def tell(done: int) -> None:
            call(done, total)

        yield tell
    else:
        raise ProgrammingError(f"progress is True, False or a callable(done, total), not {progress!r}")
