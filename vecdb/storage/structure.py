"""The engine's own structure of a file, looked at without the engine: trees, keys in order, free pages."""

from __future__ import annotations

from vecdb.errors import CorruptionError


def structure_problems(path: str) -> list[str]:
    """What is wrong with a file's pages; none where the engine can trust them.

    While others write, the caller holds a reader, so that no page of the newest commit is used again meanwhile.
    """
    from lmdb.verify import VerifyError, verify

    try:
        return [str(problem) for problem in verify(path, subdir=False)]  # type: ignore[no-untyped-call]
    except VerifyError as error:
        return [str(error)]
    except OSError as error:
        raise CorruptionError(f"{path} can't be read: {error}") from error
    except Exception as error:  # the verifier is no part of vecdb, and the file may hold anything
        return [f"the pages can't be followed: {type(error).__name__}: {error}"]
