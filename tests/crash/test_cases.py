"""The cases that vecdb has to survive, each with the tests that show it: a table that can't go stale."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# What happens, by number as the specification of reliability counts, and where it is tested.
CASES: dict[str, list[str]] = {
    "1 SIGKILL at any system call": [
        "crash/test_reliability.py::test_a_kill_at_any_write_loses_nothing",
        "crash/test_kill.py::test_killed_while_loading",
        "crash/test_kill.py::test_killed_while_rows_come_and_go_the_graph_is_repaired_and_the_file_packed",
    ],
    "2 a power cut": [
        "crash/test_reliability.py::test_a_power_cut_at_any_moment_loses_nothing",
        "crash/test_reliability.py::test_a_power_cut_with_durability_normal_leaves_a_whole_version",
        "crash/test_reliability.py::test_a_disk_that_lies_is_caught",
    ],
    "3 SIGKILL while holding the writer's lock": [
        "concurrency/test_locks.py::test_a_process_that_is_killed_at_a_step",
        "concurrency/test_locks.py::test_a_process_that_is_killed_before_it_told_readers",
    ],
    "4 no space on commit": [
        "crash/test_full_disk.py::test_no_space_on_a_small_disk",
        "crash/test_full_disk.py::test_no_space_as_a_limit_on_the_size_of_files",
    ],
    "5 an I/O error on sync, or on the meta page": [
        "crash/test_reliability.py::test_a_disk_that_fails_at_any_write_loses_nothing",
        "crash/test_reliability.py::test_a_disk_that_fails_once_stops_nobody",
    ],
    "6 the map is full, or a peer grew it": [
        "storage/test_open.py::test_the_map_grows_by_itself",
        "storage/test_open.py::test_a_peer_grew_the_map",
        "storage/test_open.py::test_an_open_scan_holds_up_growth_no_longer_than_the_timeout",
        "crash/test_interrupt.py::test_a_full_file_rolls_back",
    ],
    "7 a truncated, empty or missing file": [
        "storage/test_open.py::test_a_truncated_file",
        "storage/test_open.py::test_create",
    ],
    "8 a zeroed meta page, a flipped bit": [
        "storage/test_open.py::test_a_zeroed_meta_page",
        "storage/test_open.py::test_a_flipped_bit_in_a_record_is_named",
        "maintenance/test_check.py::test_a_flipped_bit_of_any_record_is_found_and_named",
    ],
    "8 damage to links or codes heals": [
        "mirror/test_heal.py::test_searches_are_exact_until_the_graph_is_made_anew",
        "mirror/test_heal.py::test_a_reader_scans_and_tells",
        "mirror/test_heal.py::test_damaged_vectors_are_not_healed_over",
    ],
    "9 a crash, or no space, during backup, restore, compaction, creation": [
        "maintenance/test_backup.py::test_a_full_disk_leaves_nothing",
        "maintenance/test_compact.py::test_a_full_disk_leaves_the_file_as_it_was",
        "maintenance/test_compact.py::test_killed_at_any_moment_the_file_is_whole",
        "maintenance/test_compact.py::test_killed_at_each_step_of_the_replacement_the_file_is_whole",
        "crash/test_reliability.py::test_a_kill_at_any_write_loses_nothing",
    ],
    "10 a foreign file, a newer format, a hostile file": [
        "storage/test_open.py::test_another_file_is_refused_and_left_alone",
        "storage/test_open.py::test_a_foreign_lmdb_file_is_refused_and_left_alone",
        "storage/test_open.py::test_a_header_that_this_version_can_not_read",
        "crash/test_reliability.py::test_no_mutated_file_hurts_who_opens_it",
        "crash/test_reliability.py::test_no_mutated_file_hurts_a_check",
        "crash/test_reliability.py::test_no_mutated_file_hurts_a_recovery",
    ],
    "11 opened twice, by hard link, after fork": [
        "concurrency/test_processes.py::test_two_handles_share_one_environment",
        "concurrency/test_processes.py::test_a_handle_is_stale_after_fork",
        "concurrency/test_snapshots.py::test_a_snapshot_is_stale_after_fork",
    ],
    "12 the file or the lock file replaced while open": [
        "concurrency/test_processes.py::test_a_replaced_file_is_noticed",
        "concurrency/test_locks.py::test_a_file_that_something_was_copied_over_is_read_anew",
    ],
    "13 a killed reader, slots of readers exhausted, long readers": [
        "concurrency/test_locks.py::test_a_reader_that_was_killed_keeps_nothing",
        "storage/test_open.py::test_places_for_readers_run_out",
        "concurrency/test_snapshots.py::test_stats_tell_who_keeps_old_versions",
    ],
    "14 a stopped writer, Ctrl-C while waiting": [
        "concurrency/test_locks.py::test_a_writer_that_is_stopped_makes_others_time_out",
        "crash/test_interrupt.py::test_ctrl_c_while_waiting_for_the_turn",
    ],
    "15 a folder or a file that may not be written": [
        "storage/test_open.py::test_readonly",
        "storage/test_readonly.py::test_a_file_in_a_folder_that_may_not_be_written",
    ],
    "16 Ctrl-C, tracebacks, threads, close during a search, pickling": [
        "crash/test_interrupt.py::test_ctrl_c_at_any_moment",
        "crash/test_interrupt.py::test_a_traceback_that_is_kept_does_not_block_the_next_writer",
        "crash/test_interrupt.py::test_a_thread_that_dies_in_a_transaction_gives_up_its_turn",
        "concurrency/test_transactions.py::test_misuse",
        "concurrency/test_processes.py::test_close_waits_for_calls_and_cuts_scans_off",
        "concurrency/test_processes.py::test_handles_are_not_pickled",
    ],
    "17 vectors that are none": [
        "write/test_insert.py::test_bad_vectors_are_refused",
        "write/test_insert.py::test_arrays_are_looked_at_as_closely_as_lists",
        "write/test_insert.py::test_float16_overflow_is_refused",
    ],
    "18 ids that are none": ["write/test_insert.py::test_bad_ids_are_refused"],
    "19 metadata that is none": ["write/test_insert.py::test_bad_fields_are_refused"],
    "20 corrupt msgpack": ["storage/test_format.py::test_hostile_msgpack_is_corruption"],
    "21 giant or hostile filters": [
        "filters/test_fuzz.py::test_mutated_text",
        "filters/test_fuzz.py::test_random_pieces",
    ],
    "22 k out of range, nothing to be found": [
        "query/test_search.py::test_bad_arguments",
        "query/test_search.py::test_k_beyond_the_table",
        "query/test_search.py::test_deleted_rows_are_never_found",
    ],
    "23 hostile lists, levels, lengths and counts": [
        "storage/test_open.py::test_hostile_blocks_never_reach_a_kernel",
        "storage/test_open.py::test_hostile_counters",
        "storage/test_open.py::test_counters_that_claim_more_than_there_is",
        "mirror/test_links.py::test_hostile_entries_never_reach_a_kernel",
    ],
}


def test_every_case_is_there() -> None:
    assert sorted({int(case.split()[0]) for case in CASES}) == list(range(1, 24))


@pytest.mark.parametrize("case", CASES)
def test_a_case_has_the_tests_that_are_named(case: str) -> None:
    for name in CASES[case]:
        file, function = name.split("::")
        tree = ast.parse((TESTS / file).read_text())
        assert function in {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}, name
