"""What `vecdb demo` shows: real text that every machine with Python has, searched by words."""
