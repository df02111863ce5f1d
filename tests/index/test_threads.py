import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from vecdb.index.threads import share


def test_work_is_shared_with_the_callers_thread() -> None:
    """Each item once, the callers' thread among those that work, also where all others are busy."""
    done: list[tuple[int, int]] = []

    def work(item: int) -> None:
        time.sleep(0.01)
        done.append((item, threading.get_ident()))

    with ThreadPoolExecutor(1) as executor:
        let_go = threading.Event()
        executor.submit(let_go.wait)
        threading.Timer(0.1, let_go.set).start()
        share(work, range(50), executor, 1)
    assert sorted(item for item, _ in done) == list(range(50))
    assert len({thread for _, thread in done}) == 2
    assert done[0] == (0, threading.get_ident())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("here", [False, True], ids=["there", "here"])
def test_an_error_leaves_no_work_running(error: type[BaseException], here: bool) -> None:
    running: set[int] = set()
    finished: list[int] = []

    def work(item: int) -> None:
        running.add(item)
        time.sleep(0.005)
        if item >= 20 and (threading.current_thread() is threading.main_thread()) == here:
            running.discard(item)
            raise error
        finished.append(item)
        running.discard(item)

    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(error):
            share(work, range(1000), executor, 2)
        assert running == set()
        assert len(finished) < 1000
        share(finished.append, range(3), executor, 2)
    assert {0, 1, 2} <= set(finished)


def test_threads_that_come_late_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    with ThreadPoolExecutor(1) as executor:
        let_go = threading.Event()
        executor.submit(let_go.wait)
        share(done.append, range(20), executor, 3)
        let_go.set()
        assert executor.submit(lambda: "free").result(5) == "free"
        assert done == list(range(20))

        def refuse(*arguments: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(executor, "submit", refuse)
        share(done.append, range(20, 30), executor, 1)
        assert done == list(range(30))


def test_an_interrupt_while_threads_are_asked_leaves_none_at_work() -> None:
    at_work: set[int] = set()

    def work(item: int) -> None:
        at_work.add(item)
        time.sleep(0.02)
        at_work.remove(item)

    class Cut(ThreadPoolExecutor):
        asked = 0

        def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
            self.asked += 1
            future = super().submit(*arguments, **named)
            time.sleep(0.01)
            if self.asked == 3:
                raise KeyboardInterrupt
            return future

    with Cut(3) as executor:
        with pytest.raises(KeyboardInterrupt):
            share(work, range(100), executor, 3)
        assert at_work == set()
