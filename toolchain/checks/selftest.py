#!/usr/bin/env python3
"""selftest.py: each check flags a bad input and lets a good one pass."""

import os
import sys
import tempfile

import atomics_edges
import files
import include_layers

A, R = "include/lagoon/x.hpp", "runtime/x.cpp"

# check, files, what must be said about them (empty: nothing)
CASES = [
    (include_layers, {"include/lagoon/counter.hpp": "#include <lagoon/detail/a.hpp>\n#include <bit>\n",
                      "include/lagoon/detail/a.hpp": ""}, ""),
    (include_layers, {"include/lagoon/error.hpp": "#include <lagoon/arena.hpp>\n",
                      "include/lagoon/arena.hpp": ""}, "of layer arena included from error"),
    (include_layers, {"include/lagoon/arena.hpp": "#include <lagoon/group.hpp>\n",
                      "include/lagoon/group.hpp": "#include <lagoon/arena.hpp>\n"}, "includes itself"),
    (include_layers, {"include/lagoon/error.hpp": "#include <sys/mman.h>\n"}, "a system header"),
    (include_layers, {"include/lagoon/error.hpp": "#include <unistd.h>\n"}, "a system header"),
    (include_layers, {"include/lagoon/error.hpp": '#include "count.hpp"\n'}, "include with <>"),
    (include_layers, {"include/lagoon/news.hpp": ""}, "in no layer"),
    (include_layers, {R: '#include "tool/show.hpp"\n'}, "the library includes the command"),

    (atomics_edges, {A: """
        // C1 relaxed RMW, no pair: only the sum counts.
        a.fetch_add(1, std::memory_order_relaxed);
        // C2 release store -> C3: the text.
        if (b) a.store(f(b[c[0]]),
                       std::memory_order_release);
        do {
            x();
            // C3 acq_rel CAS <- C2, C3 -> C3, what the one before
            // wrote.
        } while (!a.compare_exchange_strong(old, next{1}, std::memory_order_acq_rel,
                                            std::memory_order_acquire));
        return counter.load();
     """}, ""),
    (atomics_edges, {A: "a.load(std::memory_order_relaxed);"}, "no tag above"),
    (atomics_edges, {A: "x = a.\n  load(\n f(1),\n std::memory_order_relaxed);"}, "no tag above"),
    (atomics_edges, {A: "// C1 relaxed load, no pair: a.\na.load(std::memory_order_relaxed);\n"
                        "a.load(std::memory_order_relaxed);"}, "x.hpp:3: no tag above"),
    (atomics_edges, {A: "// C1 acquire load, no pair: a.\na.load(std::memory_order_relaxed);"},
     "says acquire, the call is relaxed"),
    (atomics_edges, {A: "// C1 relaxed RMW, no pair: a.\na.load(std::memory_order_relaxed);"},
     "says RMW, the call is relaxed load"),
    (atomics_edges, {A: "// C1 release store -> C2.\na.store(1, std::memory_order_release);"},
     "there is no tag C2"),
    (atomics_edges, {A: "// C1 release store -> C2.\na.store(1, std::memory_order_release);\n"
                        "// C2 acquire load <- C3.\na.load(std::memory_order_acquire);\n"
                        "// C3 release store -> C2.\na.store(1, std::memory_order_release);\n"},
     "C2 does not say <- C1"),
    (atomics_edges, {A: "// C1 release store -> W9.\na.store(1, std::memory_order_release);",
                     R: "// W9 acquire load <- C1.\na.load(std::memory_order_acquire);"}, ""),
    (atomics_edges, {A: "// C1 relaxed load.\na.load(std::memory_order_relaxed);"}, "nor no pair"),
    (atomics_edges, {A: "// C1 relaxed load, no pair.\na.load(std::memory_order_relaxed);"},
     "no reason why"),
    (atomics_edges, {A: "// C1 acquire load, no pair: a. kept: b.\na.load(std::memory_order_acquire);"},
     ""),
    (atomics_edges, {A: "// C1 acquire load, no pair: a. kept.\na.load(std::memory_order_acquire);"},
     "kept, and no reason why"),
    (atomics_edges, {A: "// C1 relaxed store -> C1.\na.store(1, std::memory_order_relaxed);"},
     "publishes nothing"),
    (atomics_edges, {A: "// C1 relaxed load, no pair: a.\nf(x);\n"}, "stands above no atomic call"),
    (atomics_edges, {A: "// C1 relaxed load, no pair: a.\na.load(std::memory_order_relaxed);\n"
                        "// C1 acquire load, no pair: a.\na.load(std::memory_order_acquire);\n"},
     "is relaxed load elsewhere"),
    (atomics_edges, {A: "std::atomic<int> x;"}, "only detail/atomic.hpp may name it"),
    (atomics_edges, {A: "volatile int x;"}, "only detail/atomic.hpp may name it"),
    (atomics_edges, {R: "std::atomic_thread_fence(std::memory_order_seq_cst);"},
     "only detail/atomic.hpp may name it"),
    (atomics_edges, {"include/lagoon/detail/atomic.hpp": "std::atomic<T> value_;"}, ""),

    (files, {R: "", "runtime/CMakeLists.txt": "add_library(x x.cpp)"}, ""),
    (files, {R: "", "runtime/CMakeLists.txt": "add_library(x y.cpp) # x.cpp"}, "in no CMakeLists"),
    (files, {"runtime/x.hpp": ""}, "included by nobody"),
    (files, {R: "\n" * 401, "runtime/CMakeLists.txt": "x.cpp"}, "401 lines"),
    (files, {R: "// x.cpp: one piece, since\n" + "\n" * 400, "runtime/CMakeLists.txt": "x.cpp"}, ""),
    (files, {"README.md": "```cpp\nint x;\n```\n", "tests/examples/x.cpp": "void f();\nint x;\n",
             "tests/CMakeLists.txt": "examples/x.cpp"}, ""),
    (files, {"README.md": "```cpp\nint y;\n```\n", "tests/examples/x.cpp": "int x;\n",
             "tests/CMakeLists.txt": "examples/x.cpp"}, "README.md:1: not in tests/examples"),
    (files, {A: "\n" * 301, "include/CMakeLists.txt": "lagoon/x.hpp"}, "301 lines"),
]


def main():
    wrong = 0
    for check, inputs, expected in CASES:
        with tempfile.TemporaryDirectory() as root:
            for path, text in inputs.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            _, complaints = check.check(root)
        fine = any(expected in c for c in complaints) if expected else not complaints
        if not fine:
            wrong += 1
            print(f"{check.__name__}: expected '{expected}', got {complaints}\n  for {inputs}")
    print(f"{len(CASES)} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
