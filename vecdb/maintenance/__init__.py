"""Care of files: check, backup, restore, recover, dump, load."""
