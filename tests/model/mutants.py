#!/usr/bin/env python3
"""mutants.py [--jobs N] [--only TEXT] [--sample N] BIN: does every memory order earn its keep?

Makes one atomic call at a time weaker than it is written (no rebuild: LAGOON_MODEL_WEAKEN) and
runs the model tests that make this call, from BIN, where lagoon_model_* are. Each such mutant is

    caught       by a test
    kept         by none, and the call's tag says why it stays: `kept: why`
    surviving    by none, and no tag says why: an error, as is a `kept` of a call whose every
                 mutant is caught

A mutant of a call that no model test makes is kept or surviving like the others, and counted once
more by itself. --only: calls whose file or tag contains TEXT; --sample: every Nth mutant."""

import argparse
import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "toolchain", "checks"))
import atomics_edges  # noqa: E402
import cpp  # noqa: E402

WEAKER = {"seq_cst": {"load": ["acquire", "relaxed"], "store": ["release", "relaxed"],
                      "RMW": ["acq_rel", "relaxed"]},
          "acq_rel": {"RMW": ["acquire", "release", "relaxed"]},
          "acquire": {"load": ["relaxed"], "RMW": ["relaxed"]},
          "release": {"store": ["relaxed"], "RMW": ["relaxed"]},
          "relaxed": {}}
TIMEOUT_S = 300


class Mutant:
    def __init__(self, path, lines, how, label, name, kept):
        self.path, self.how, self.label, self.name, self.kept = path, how, label, name, kept
        self.first, self.last = lines

    def variable(self):
        return f"{self.path}:{self.first}-{self.last}:{self.how}"

    def __str__(self):
        return f"{self.path}:{self.first}: {self.name}: {self.label}"


def mutants_of(path, call):
    """The ways in which one call can be weaker."""
    kind = call.operation if call.operation in ("load", "store") else "RMW"
    found = [(order, f"{call.orders[0]} to {order}")
             for order in WEAKER[call.orders[0]].get(kind, [])]
    if len(call.orders) > 1 and call.orders[1] != "relaxed":
        found.append(("failure", f"failure {call.orders[1]} to relaxed"))
    if kind == "RMW":
        found.append(("torn", "torn into a load and a store"))
    return [Mutant(path, (call.first, call.last), how, label, call.tag.name,
                   "kept: " in call.tag.rest) for how, label in found]


def fences_of(path, text):
    """Each call of a fence, left out. A comment on its line may say `kept: why`."""
    if path.endswith(("atomic.hpp", "fence.cpp")):
        return []
    lines = text.splitlines()
    return [Mutant(path, (token.line, token.line), "gone", "left out", token.text,
                   "kept: " in lines[token.line - 1])
            for token in cpp.tokens(text)
            if token.kind == "word" and token.text in ("heavy_fence", "claim_fence")]


def environment(**more):
    return {**os.environ, "LAGOON_MODEL_QUIET": "1", "LAGOON_STRESS": "1", **more}


def cases_of(binary):
    listed = subprocess.run([binary, "--list-test-names-only"], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if line.strip()]


def run_case(binary, case, **more):
    """True when the case passes; a time-out is a failure of its own kind and counts as one."""
    name = re.sub(r"([,\[\]\\])", r"\\\1", case)
    try:
        done = subprocess.run([binary, name, "-a"], capture_output=True, env=environment(**more),
                              timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


class Suite:
    """The test cases, and which calls each of them makes."""

    def __init__(self, folder):
        names = sorted(n for n in os.listdir(folder)
                       if n.startswith("lagoon_model_") and n != "lagoon_model_engine")
        self.cases = [(os.path.join(folder, n), case)
                      for n in names for case in cases_of(os.path.join(folder, n))]
        if not self.cases:
            sys.exit(f"mutants.py: no model tests in {folder}")
        self.sites = {}

    def measure(self, pool):
        def one(place):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "sites")
                if not run_case(*place, LAGOON_MODEL_SITES=path):
                    sys.exit(f"mutants.py: fails as it is: {place[1]}")
                with open(path, encoding="utf-8") as file:
                    lines = {line.strip() for line in file}
            return place, {(name, int(line)) for name, line in
                           (entry.rsplit(":", 1) for entry in lines)}
        self.sites = dict(pool.map(one, self.cases))

    def of(self, mutant):
        """The cases that make this call, those first that do little else."""
        hits = [(len(sites), place) for place, sites in self.sites.items()
                if any(mutant.first <= line <= mutant.last and name.endswith(mutant.path)
                       for name, line in sites)]
        return [place for _, place in sorted(hits)]


def is_caught(suite, mutant):
    return any(not run_case(*place, LAGOON_MODEL_WEAKEN=mutant.variable())
               for place in suite.of(mutant))


def collect(only):
    mutants = []
    for path in cpp.sources(ROOT, "include", "runtime"):
        text = cpp.read(ROOT, path)
        if path not in atomics_edges.DOORS:
            for call in atomics_edges.Scan(path, text).calls:
                mutants += mutants_of(path, call)
        mutants += fences_of(path, text)
    return [m for m in mutants if not only or only in m.path or only == m.name]


def report(results, outside):
    count = collections.Counter()
    by_file = collections.defaultdict(collections.Counter)
    survivors, needed, idle = [], set(), {}
    for mutant, caught in results:
        end = "caught" if caught else "kept" if mutant.kept else "surviving"
        count[end] += 1
        by_file[mutant.path][end] += 1
        place = (mutant.path, mutant.first, mutant.name)
        if end == "surviving":
            survivors.append(mutant)
        if end == "kept":
            needed.add(place)
        if mutant.kept:
            idle[place] = mutant
    for path, ends in sorted(by_file.items()):
        print(f"{path:40} caught {ends['caught']:3}  kept {ends['kept']:3}  "
              f"surviving {ends['surviving']:3}")
    for mutant in survivors:
        print(f"SURVIVES {mutant}")
    idle = [mutant for place, mutant in idle.items() if place not in needed]
    for mutant in idle:
        print(f"{mutant.path}:{mutant.first}: {mutant.name} says kept, and every mutant is caught")
    print(f"caught {count['caught']}, kept {count['kept']}, surviving {count['surviving']}, "
          f"total {sum(count.values())}; {outside} of them in calls that no model test makes")
    return 1 if survivors or idle else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", metavar="BIN")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--sample", type=int, default=1)
    parser.add_argument("--trust", action="store_true",
                        help="run no mutants of calls whose tag says kept; they count as kept")
    given = parser.parse_args()
    suite = Suite(given.folder)
    mutants = collect(given.only)
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        suite.measure(pool)
        inside = [m for m in mutants if suite.of(m)][::given.sample]
        outside = [m for m in mutants if not suite.of(m)]
        results = [(m, False) for m in outside]
        if given.trust:
            results += [(m, False) for m in inside if m.kept]
            inside = [m for m in inside if not m.kept]
        for mutant, caught in zip(inside, pool.map(lambda m: is_caught(suite, m), inside)):
            if not caught:
                print(f"no test fails: {mutant}", flush=True)
            results.append((mutant, caught))
    return report(results, len(outside))


if __name__ == "__main__":
    sys.exit(main())
