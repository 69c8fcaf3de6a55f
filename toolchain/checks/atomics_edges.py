#!/usr/bin/env python3
"""atomics_edges.py [ROOT]: every atomic call carries a tag that is true.

Above the statement that makes an atomic call stand as many tags as it has atomic calls, in their
order, each at the start of a comment line:

    // C1 relaxed RMW, no pair: only the sum is promised.
    // C2 release store -> C4, C6.
    // C4 acquire load <- C2.
    // C6 acq_rel CAS <- C2, C6 -> C6.

A tag may end in `kept: why`: nothing in tests/model fails when the call is weaker than it is
written, and why it stays all the same (tests/model/mutants.py).

Order and kind are the call's. Each edge is told at both ends, which may lie in two files. A tag used
more than once is one end with several places; what one of them tells counts for all.
Nothing but the one door to atomics and the runtime's fences names what lies below them."""

import re

import cpp

DOORS = ("include/lagoon/detail/atomic.hpp", "runtime/fence.cpp", "runtime/fences.cpp")
ORDERS = "relaxed|acquire|release|acq_rel|seq_cst"
TAG = re.compile(rf"//+\s*([A-Z]{{1,3}}\d+[a-z]?)\s+({ORDERS})\s+(\w+)(.*)", re.DOTALL)
KINDS = {"load": {"load"}, "store": {"store"}, "exchange": {"RMW", "exchange"},
         "compare_exchange_strong": {"CAS", "RMW"}, "compare_exchange_weak": {"CAS", "RMW"}}
for operation in ("add", "sub", "and", "or", "xor", "min", "max"):
    KINDS["fetch_" + operation] = {"RMW"}
BELOW = re.compile(r"volatile|atomic(_\w+)?|__(atomic|sync)_\w+")
OPENS_BLOCK = {")", "]", "else", "do", "try", "const", "noexcept", "override", "final", "mutable"}


class Tag:
    def __init__(self, line, name, order, kind, rest):
        self.line, self.name, self.order, self.kind = line, name, order, kind
        rest = " ".join(rest.replace("//", " ").split())
        self.rest = rest
        self.to = partners(rest, "->")
        self.back = partners(rest, "<-")


def partners(rest, arrow):
    """The tags named after the arrow: `-> C4, C6.` gives C4 and C6."""
    found = set()
    for part in re.findall(re.escape(arrow) + r"\s*((?:[A-Z]{1,3}\d+[a-z]?(?:,\s*|\s+and\s+)?)+)",
                           rest):
        found |= set(re.findall(r"[A-Z]{1,3}\d+[a-z]?", part))
    return found


def tags_in(comments):
    """The tags of a run of // lines; a line that starts no tag carries the one before on."""
    found = []
    for token in comments:
        match = TAG.match(token.text)
        if match:
            found.append([token.line, *match.groups()])
        elif found:
            found[-1][-1] += " " + token.text
    return [Tag(*parts) for parts in found]


def orders_of_call(code, at):
    """The memory orders among the arguments of the call whose '(' is code[at], and its last line."""
    depth, orders = 0, []
    for i in range(at, len(code)):
        text = code[i].text
        depth += (text == "(") - (text == ")")
        if depth == 0:
            return orders, code[i].line
        if text.startswith("memory_order_"):
            orders.append(text.removeprefix("memory_order_"))
        if text == "memory_order" and code[i + 1].text == "::":
            orders.append(code[i + 2].text)
    return orders, code[-1].line


class Call:
    """An atomic call, from the first line of its statement to the last of its arguments."""

    def __init__(self, operation, orders, first, last, tag):
        self.operation, self.orders, self.tag = operation, orders, tag
        self.first, self.last = first, last


def is_call(code, i):
    return (code[i].text in KINDS and i > 0 and code[i - 1].text in (".", "->")
            and i + 1 < len(code) and code[i + 1].text == "(")


class Scan:
    """Walks through one file and matches calls with the tags above their statements."""

    def __init__(self, path, text):
        self.path, self.complaints, self.tags = path, [], []
        self.pending, self.depth, self.bottom, self.calls = [], 0, 0, []
        run, previous = [], None
        stream = cpp.tokens(text)
        self.code = [t for t in stream if t.kind not in ("comment", "directive")]
        position = 0
        for token in stream:
            if token.kind == "comment":
                run.append(token)
                continue
            if run:
                self.comments(run, previous)
                run = []
            previous = token
            if token.kind != "directive":
                self.step(position)
                position += 1
        self.end_statement()

    def complain(self, line, text):
        self.complaints.append(f"{self.path}:{line}: {text}")

    def comments(self, run, previous):
        # A comment behind code on its line is no tag.
        found = tags_in([t for t in run if previous is None or t.line != previous.line])
        if found:
            if not self.pending:
                self.bottom = self.depth
            self.pending += found
            self.tags += found

    def step(self, i):
        token = self.code[i]
        before = self.code[i - 1].text if i else ""
        if is_call(self.code, i):
            self.call(token, *orders_of_call(self.code, i + 1))
        if token.text in ("(", "["):
            self.depth += 1
        elif token.text in (")", "]"):
            self.depth -= 1
        elif token.text == "{":
            if before in OPENS_BLOCK and self.depth <= self.bottom:
                self.end_statement()
            self.depth += 1
        elif token.text == "}":
            self.depth -= 1
            if self.depth < self.bottom:
                if self.code[i + 1 : i + 2] and self.code[i + 1].text == "while":
                    self.bottom = self.depth  # a tag above the last line of do ... while
                else:
                    self.end_statement()
        elif token.text == ";" and self.depth <= self.bottom:
            self.end_statement()

    def call(self, token, orders, last):
        if not orders:
            return
        order = orders[0]
        what = f"{order} {token.text}"
        if not self.pending:
            self.complain(token.line, f"no tag above {what}")
            return
        tag = self.pending.pop(0)
        self.calls.append(Call(token.text, orders, token.line, last, tag))
        if tag.order != order:
            self.complain(token.line, f"tag {tag.name} says {tag.order}, the call is {what}")
        if tag.kind not in KINDS[token.text]:
            self.complain(token.line, f"tag {tag.name} says {tag.kind}, the call is {what}")

    def end_statement(self):
        for tag in self.pending:
            self.complain(tag.line, f"tag {tag.name} stands above no atomic call")
        self.pending = []
        self.bottom = self.depth

    def check_tags(self):
        first = {}
        for tag in self.tags:
            same = first.setdefault(tag.name, tag)
            if (same.order, same.kind) != (tag.order, tag.kind):
                self.complain(tag.line, f"tag {tag.name} is {same.order} {same.kind} elsewhere")
            fenced = "fence" in tag.rest
            if re.search(r"no pair\b(?!: \w)", tag.rest):
                self.complain(tag.line, f"tag {tag.name}: no pair, and no reason why: `no pair: why`")
            elif not (tag.to or tag.back or "no pair" in tag.rest):
                self.complain(tag.line, f"tag {tag.name}: neither ->, <- nor no pair")
            if re.search(r"kept\b(?!: \w)", tag.rest):
                self.complain(tag.line, f"tag {tag.name}: kept, and no reason why: `kept: why`")
            if tag.to and tag.order in ("relaxed", "acquire") and not fenced:
                self.complain(tag.line, f"tag {tag.name}: {tag.order} publishes nothing (->)")
            if tag.back and tag.order in ("relaxed", "release") and not fenced:
                self.complain(tag.line, f"tag {tag.name}: {tag.order} receives nothing (<-)")

    def check_names(self):
        for i, token in enumerate(self.code):
            if token.kind == "word" and BELOW.fullmatch(token.text):
                std = i >= 2 and self.code[i - 1].text == "::" and self.code[i - 2].text == "std"
                if std or token.text == "volatile" or token.text.startswith("__"):
                    self.complain(token.line, f"{token.text}: only detail/atomic.hpp may name it")


def check_edges(scans):
    """Both ends of every edge agree."""
    ends = {}  # (path, name) -> (to, back, line)
    for scan in scans:
        for tag in scan.tags:
            to, back, line = ends.get((scan.path, tag.name), (set(), set(), tag.line))
            ends[scan.path, tag.name] = (to | tag.to, back | tag.back, line)
    complaints = []
    for (path, name), (to, back, line) in sorted(ends.items()):
        for here, there, partners_here in (("->", 1, to), ("<-", 0, back)):
            for partner in sorted(partners_here):
                places = [place for place in ends if place[1] == partner]
                if not any(name in ends[place][there] for place in places):
                    other = "<-" if here == "->" else "->"
                    problem = f"{partner} does not say {other} {name}" if places else \
                        f"there is no tag {partner}"
                    complaints.append(f"{path}:{line}: tag {name} says {here} {partner}; {problem}")
    return complaints


def check(root):
    complaints, scans = [], []
    for path in cpp.sources(root, "include", "runtime"):
        if path in DOORS:
            continue
        scan = Scan(path, cpp.read(root, path))
        scan.check_tags()
        scan.check_names()
        complaints += scan.complaints
        scans.append(scan)
    complaints += check_edges(scans)
    return f"{sum(len(s.calls) for s in scans)} calls, {sum(len(s.tags) for s in scans)} tags", complaints


if __name__ == "__main__":
    cpp.run(check)
