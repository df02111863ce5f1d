"""Programs that `fresh_process` runs, each in a process of its own."""
