#!/usr/bin/env python3
"""include_layers.py [ROOT]: includes go downwards only.

A file may include its own layer and the layers below it, never one above, and no header includes
itself by a detour. Public headers include standard C++ headers and named libraries, never headers
of the system or of the runtime."""

import fnmatch

import cpp

# From the bottom up. A new public header has to be put into one of them.
LAYERS = {
    "detail": ["detail/*.hpp"],
    "error": ["error.hpp", "outcome.hpp", "count.hpp"],
    "arena": ["arena.hpp", "arena_options.hpp", "arena_safe.hpp", "arena_view.hpp", "faults.hpp",
              "group.hpp", "string.hpp", "version.hpp", "detail/type_name.hpp",
              "detail/attachment.hpp"],
    "values": ["counter.hpp", "sharded_counter.hpp", "value.hpp", "array.hpp"],
    "sync": ["lock.hpp"],
    "pool": ["pool*.hpp", "lease.hpp", "local.hpp", "detail/pool*.hpp", "detail/hooks*.hpp"],
    "process": ["process.hpp", "worker.hpp", "executor.hpp", "future.hpp", "detail/codec.hpp",
                "detail/task*.hpp", "detail/process*.hpp", "detail/worker*.hpp"],
    "all": ["lagoon.hpp"],
}
LIBRARIES = ("cereal/", "boost/")


def layer_of(header):
    """The layer of include/lagoon/<header>; a pattern without a wildcard wins. None if unlisted."""
    names = list(LAYERS)
    matching = [(not any(c in p for c in "*?"), names.index(layer), layer)
                for layer, patterns in LAYERS.items()
                for p in patterns if fnmatch.fnmatchcase(header, p)]
    return max(matching)[2] if matching else None


def check_public(path, text, complaints, edges):
    header = path.removeprefix("include/lagoon/")
    layer = layer_of(header)
    if layer is None:
        complaints.append(f"{path}:1: in no layer: add it to LAYERS in include_layers.py")
        return
    names = list(LAYERS)
    for line, name in cpp.includes(text):
        where, bare = f"{path}:{line}", name[1:-1]
        if name[0] == '"':
            complaints.append(f"{where}: {name}: public headers include with <>")
        elif bare.startswith("lagoon/"):
            target = bare.removeprefix("lagoon/")
            edges.setdefault(header, []).append(target)
            below = layer_of(target)
            if below is None:
                complaints.append(f"{where}: {name}: in no layer")
            elif names.index(below) > names.index(layer):
                complaints.append(f"{where}: {name} of layer {below} included from {layer}")
        elif not bare.startswith(LIBRARIES) and ("/" in bare or "." in bare):
            complaints.append(f"{where}: {name}: a system header in a public header")


def check_private(path, text, complaints):
    for line, name in cpp.includes(text):
        bare = name[1:-1]
        if bare.startswith(("tests/", "perf/")):
            complaints.append(f"{path}:{line}: {name}: the library includes its tests")
        if (bare.startswith(("tool/", "runtime/tool/"))
                and not path.startswith("runtime/tool/")):
            complaints.append(f"{path}:{line}: {name}: the library includes the command")


def cycles(edges):
    found, done = [], set()

    def visit(header, trail):
        if header in trail:
            found.append(" -> ".join(trail[trail.index(header):] + [header]))
        elif header not in done:
            for target in edges.get(header, []):
                visit(target, trail + [header])
            done.add(header)

    for header in sorted(edges):
        visit(header, [])
    return found


def check(root):
    complaints, edges = [], {}
    headers = cpp.sources(root, "include")
    for path in headers:
        check_public(path, cpp.read(root, path), complaints, edges)
    for path in cpp.sources(root, "runtime"):
        check_private(path, cpp.read(root, path), complaints)
    complaints += [f"include/lagoon: includes itself: {c}" for c in cycles(edges)]
    return f"{len(headers)} headers, {sum(map(len, edges.values()))} includes", complaints


if __name__ == "__main__":
    cpp.run(check)
