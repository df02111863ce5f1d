"""Print the seconds that the import of a module takes: `import_time.py MODULE`."""

import sys
import time
from importlib import import_module

if __name__ == "__main__":
    start = time.perf_counter()
    import_module(sys.argv[1])
    print(time.perf_counter() - start)
