"""Backup of an open database: a snapshot, verified, that appears under its name when it is whole and on the disk."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from vecdb.errors import BackupError, DatabaseError, DatabaseNotFoundError, ReadOnlyError, StorageFullError
from vecdb.maintenance.chain import Chain, apply_increment, digest, find_chain, identify
from vecdb.maintenance.child import Child, ChildDiedError, Teller
from vecdb.progress import Progress, reporting
from vecdb.storage.creation import give_new_name
from vecdb.storage.environment import NO_SPACE, Environment
from vecdb.storage.header import FORMAT_MAJOR
from vecdb.storage.increment import Head, IncrementWriter
from vecdb.storage.keys import Space
from vecdb.storage.private import PrivateFile
from vecdb.storage.reader import ReadTransaction
from vecdb.storage.registry import REGISTRY
from vecdb.storage.view import Sealed

if TYPE_CHECKING:
    from concurrent.futures import Executor

_PIECE: Final = 1 << 20  # bytes that are taken from a pipe at most
_STEPS: Final = 1000


@dataclass(frozen=True)
class Backup:
    """A backup that was made."""

    path: str
    version: int  # of the database
    bytes: int
    seconds: float
    since: str | None  # the backup that it follows


def backup(environment: Environment, dst: str | os.PathLike[str], since: object, progress: Progress) -> Backup:
    """Put a backup of the newest commit at `dst`, where nothing is. Raises BackupError and errors of storage."""
    began = time.perf_counter()
    place = check_destination(dst)
    with draft_for(place) as draft, reporting(progress, _STEPS, f"backup to {Path(place).name}") as report:
        if since is None:
            version = _copy(environment, draft, report)
        else:
            version = _write_increment(environment.path, draft, place, check_source(since), report)
        size = os.path.getsize(draft)
        finish_draft(draft, place)
        report(_STEPS)
    return Backup(place, version, size, time.perf_counter() - began, None if since is None else check_source(since))


def check_destination(dst: object) -> str:
    """The path of a file that is to be made."""
    if not isinstance(dst, (str, os.PathLike)) or "\0" in os.fsdecode(dst):
        raise BackupError(f"a destination is the path of a file, not {dst!r}")
    place = os.path.abspath(os.fsdecode(dst))
    if os.path.lexists(place):
        raise BackupError(f"{place} exists already; nothing was overwritten: choose another name, or move it away")
    if not os.path.isdir(os.path.dirname(place)):
        raise DatabaseNotFoundError(f"there is no folder {os.path.dirname(place)} to write {Path(place).name} in")
    return place


def check_source(path: object) -> str:
    """The path of a file that is there."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in os.fsdecode(path):
        raise BackupError(f"a backup is the path of a file, not {path!r}")
    place = os.path.realpath(os.fsdecode(path))
    if not os.path.isfile(place):
        raise DatabaseNotFoundError(f"there is no backup {place}")
    return place


@contextmanager
def draft_for(place: str) -> Iterator[str]:
    """The name of a file beside the final one, which is gone afterwards."""
    draft = f"{place}.new-{os.urandom(8).hex()}"
    try:
        yield draft
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageFullError(f"{place} could not be written: no space left on the disk") from error
        if isinstance(error, PermissionError):
            raise ReadOnlyError(f"{place} could not be written: {error}") from error
        raise BackupError(f"{place} could not be written: {error}") from error
    finally:
        for leftover in (draft, draft + "-lock"):
            with suppress(FileNotFoundError):
                os.unlink(leftover)


def finish_draft(draft: str, place: str) -> None:
    """Sync a draft and give it its name."""
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())
    try:
        give_new_name(draft, place)
    except FileExistsError as error:
        raise BackupError(f"{place} was made by somebody else meanwhile; nothing was overwritten") from error


def _copy(environment: Environment, draft: str, report: Callable[[int], None]) -> int:
    """A full backup: the engine's copy, and a process of its own that verifies it, started meanwhile."""
    with Child(run_verify) as child, _create(draft) as file:
        with environment.read() as reader:
            identity = identify(reader, environment.path)
            expected = {space.name: reader.count(space) for space in Space}
            size = max(reader.used_bytes(), 1)
            _write_records(reader, file, lambda done: report(_STEPS // 2 * min(done, size) // size))
        with _thread() as thread:
            synced = thread.submit(os.fsync, file.fileno())
            try:
                found = child.run(draft, report=lambda done, total: report(_STEPS // 2 + done // 2))
            except (DatabaseError, ChildDiedError) as error:
                why = f"the copy of {environment.path} is not sound, and was thrown away: {error}"
                raise BackupError(why) from error
            synced.result()
    if found != {"version": identity.version, "nonce": identity.nonce.hex(), "records": expected}:
        raise BackupError(f"the copy of {environment.path} is not whole, and was thrown away: {found}")
    return identity.version


def _create(draft: str) -> BinaryIO:
    return open(draft, "xb", opener=lambda path, flags: os.open(path, flags, 0o600))


def _write_records(reader: ReadTransaction, file: BinaryIO, report: Callable[[int], None]) -> None:
    """Write what a transaction reads, and tell how many bytes are written.

    LMDB hands over a page at a time. By way of a pipe several of them are written at once, in two thirds of the time.
    """
    source, sink = os.pipe()

    def copy() -> None:
        try:
            reader.copy_to(sink)
        finally:
            os.close(sink)

    # The pipe is closed first: that ends a copy under way, which the transaction must outlive.
    with _thread() as thread, open(source, "rb", buffering=0) as pipe:
        copied = thread.submit(copy)
        while piece := pipe.read(_PIECE):
            file.write(piece)
            report(file.tell())
        copied.result()
    file.flush()


def _thread() -> Executor:
    """For what holds no lock of Python, so that this thread hears Ctrl-C; the end of its block waits for it."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, "vecdb-backup")


def run_verify(teller: Teller, draft: str) -> dict[str, Any]:
    """What the process does: every record of the copy matches its checksum."""
    with PrivateFile(draft) as file:
        counts = {space.name: file.count(space) for space in Space}
        total = sum(counts.values())
        file.verify_all(lambda done: teller.report(done, total))
        identity = identify(file, draft)
        return {"version": identity.version, "nonce": identity.nonce.hex(), "records": counts}


def _write_increment(path: str, draft: str, place: str, since: str, report: Callable[[int], None]) -> int:
    if os.path.dirname(since) != os.path.dirname(os.path.realpath(place)):
        raise BackupError(f"an incremental backup belongs into the folder of the one it follows: {since}")
    with Child(run_increment) as child:
        try:
            version: int = child.run(path, draft, since, report=lambda done, total: report(done))
            return version
        except ChildDiedError as died:
            raise BackupError(f"the backup of {path} could not be made: its process was ended, {died}") from died


def run_increment(teller: Teller, path: str, draft: str, since: str) -> int:
    """What the process does: compare the newest commit with the backup `since`, record by record."""
    environment = REGISTRY.acquire(path, readonly=True, sync_meta=False, max_size=None)
    chain = find_chain(since)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(draft)) if chain.increments else _nothing() as folder:
        earlier = chain.full if folder is None else restore_into(os.path.join(folder, "earlier"), chain)
        before = REGISTRY.acquire(earlier, readonly=True, sync_meta=False, max_size=None)
        try:
            with environment.read() as reader, before.read() as old, _create(draft) as file:
                identity, parent = identify(reader, path), identify(old, since)
                if (identity.uuid, identity.incarnation) != (parent.uuid, parent.incarnation):
                    raise BackupError(f"{since} is a backup of another database than {path}")
                if identity.version < parent.version:
                    raise BackupError(f"{since} is of version {parent.version}; {path} has {identity.version} only")
                writer = IncrementWriter(file, Head(parent, os.path.basename(since), identity, FORMAT_MAJOR))
                total = sum(reader.count(space) for space in Space)
                _compare(reader, old, writer, lambda done: teller.report(done, total))
                writer.end(digest(reader))
                return identity.version
        finally:
            REGISTRY.release(before)
            REGISTRY.release(environment)


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def restore_into(draft: str, chain: Chain) -> str:
    """A new file with what a chain leads to; it has the incarnation of the backup still."""
    import shutil

    shutil.copyfile(chain.full, draft)
    os.chmod(draft, 0o600)
    growth = sum(os.path.getsize(path) for path in chain.increments)
    if chain.increments:
        with PrivateFile(draft, 64 * growth) as file:
            for path in chain.increments:
                apply_increment(file, path)
    return draft


def _compare(now: Sealed, before: Sealed, writer: IncrementWriter, report: Callable[[int], None]) -> None:
    """Write what became of each record. Both are in the order of keys."""
    done = 0
    for space in Space:
        old = before.sealed(space)
        older = next(old, None)
        for key, value in now.sealed(space):
            while older is not None and older[0] < key:
                writer.delete(space, older[0])
                older = next(old, None)
            if older is None or older[0] != key:
                writer.put(space, key, bytes(value), None)
            else:
                if older[1] != value:
                    writer.put(space, key, bytes(value), bytes(older[1]))
                older = next(old, None)
            done += 1
            if done % 1024 == 0:
                report(done)
        while older is not None:
            writer.delete(space, older[0])
            older = next(old, None)
