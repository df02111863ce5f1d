"""Writers and readers in threads and processes, checked on every snapshot; and that planted bugs are seen."""

from __future__ import annotations

import pytest

from tools.reliability import __main__ as command
from tools.reliability.actor import PLANTS


def test_every_snapshot_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """An hour of it: python tools/reliability concurrency --minutes 60."""
    assert command.main(["concurrency", "--minutes", "0.5", "--kill-every", "4"]) == 0
    assert "snapshots checked" in capsys.readouterr().out


@pytest.mark.parametrize("bug", PLANTS)
def test_a_planted_bug_is_seen(bug: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["concurrency", "--minutes", "0.5", "--plant", bug]) == 1
    assert "PROBLEM" in capsys.readouterr().out
