"""The writes of a transaction over the records it began from."""

from __future__ import annotations

import random
import time

from vecdb.storage.keys import Space
from vecdb.storage.view import PendingWrites


def test_a_scan_sees_what_a_dictionary_holds() -> None:
    chance = random.Random(3)
    base = PendingWrites.on_nothing()
    base.put_all(Space.TERMS, {bytes(chance.choices(b"abc", k=4)): b"base" for _ in range(40)})
    writes, held = PendingWrites(base), dict(base.changes[Space.TERMS])
    marks: list[tuple[int, dict[bytes, bytes | None]]] = []
    for step in range(3000):
        key = bytes(chance.choices(b"abc", k=chance.randint(1, 5)))
        action = chance.random()
        if action < 0.5:
            many = {key + bytes([number]): b"%d" % step for number in range(chance.choice([1, 1, 30]))}
            writes.put_all(Space.TERMS, dict(many))
            held.update(many)
        elif action < 0.6:
            writes.delete(Space.TERMS, key)
            held[key] = None
        elif action < 0.65:
            marks.append((writes.mark(), dict(held)))
        elif action < 0.7 and marks:
            mark, held = marks.pop()
            writes.roll_back(mark)
        else:
            prefix, start = key[: chance.randint(0, 3)], bytes(chance.choices(b"abc", k=2))
            expected = {
                other: value
                for other, value in held.items()
                if value is not None and other.startswith(prefix) and other >= start
            }
            assert list(writes.scan(Space.TERMS, prefix, start)) == sorted(expected.items())


def test_a_scan_takes_as_long_as_what_it_reads_not_as_what_is_pending() -> None:
    writes = PendingWrites.on_nothing()
    writes.put_all(Space.TERMS, {b"%08d" % number: b"" for number in range(200_000)})
    list(writes.scan(Space.TERMS, b"0"))
    begin = time.perf_counter()
    for number in range(1000):
        writes.put(Space.TERMS, b"x%05d" % number, b"")
        assert len(list(writes.scan(Space.TERMS, b"0000%03d" % number))) == 10
    assert time.perf_counter() - begin < 1  # of 200,000 keys for each, it would be 15
