"""Benchmarks of vecdb on real vectors, beside its peers: `python tools/bench --help`.

One file for each subject (`load.py`), which says what is measured; the files it calls say how. To add a subject,
write a file with a `measure` function and name it in `__main__.py`.
"""
