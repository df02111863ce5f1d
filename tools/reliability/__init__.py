"""Long runs that look for what must never happen: `python tools/reliability --help`."""
