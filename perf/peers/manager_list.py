#!/usr/bin/env python3
"""manager_list.py: pop and append of a multiprocessing.Manager().list(), on demand.

Reads a number of pairs per line from its input, does them, and answers with the nanoseconds they
took. The first argument is how many numbers the list holds. Ends with its input."""

import multiprocessing
import os
import signal
import sys
import time


def main():
    # The list's server and this process may use different CPUs: it is faster so.
    os.sched_setaffinity(0, range(os.cpu_count()))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with multiprocessing.Manager() as manager:
        slots = manager.list(range(int(sys.argv[1])))
        print(sys.version.split()[0], flush=True)
        for line in iter(sys.stdin.readline, ""):
            count = int(line)
            begin = time.perf_counter_ns()
            for _ in range(count):
                slots.append(slots.pop())
            print(time.perf_counter_ns() - begin, flush=True)


if __name__ == "__main__":
    main()
