"""A job of tests/transfers/test_connections.py: a reader whose process forks; prints what each call gave.

    python tests/jobs/forked_reader.py URL

The children end as scripts do, with all that the interpreter frees then.
"""

from __future__ import annotations

import os
import sys

from bytecache.http import HttpReader

reader = HttpReader(sys.argv[1], max_connections=1, retries=0)
print(reader(["parent"]), flush=True)
for key in "used", "":
    if os.fork() == 0:
        if key:
            print(reader([key]), flush=True)
        del reader
        sys.exit()
    os.wait()
    print(reader(["parent"]), flush=True)
