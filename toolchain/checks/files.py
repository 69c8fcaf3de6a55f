#!/usr/bin/env python3
"""files.py [ROOT]: every source is built or included, and none is too long.

A .cpp file and a public header are named in the CMakeLists.txt of their folder or of one above;
any other .hpp is included by somebody. A public header has at most 300 lines, a header of its
details and a .cpp file 400, unless its first comment says why it is "one piece". The C++ of the
README stands, line by line, in one of the examples."""

import os
import re

import cpp

FOLDERS = ("include", "runtime", "tests", "perf")
LIMITS = ((r"include/lagoon/\w+\.hpp", 300), (r"include/.*\.hpp", 400), (r".*\.cpp", 400))


def listed(root, path):
    """Is the file named in a CMakeLists.txt of its folder or above? Examples go by bare name."""
    folder = os.path.dirname(path)
    while folder:
        lists = os.path.join(folder, "CMakeLists.txt")
        if os.path.exists(os.path.join(root, lists)):
            relative = re.escape(os.path.relpath(path, folder))
            text = re.sub(r"#[^\n]*", "", cpp.read(root, lists))
            names = [relative]
            if path.startswith("tests/examples/"):
                names.append(r"lagoon_example\(" + re.escape(os.path.basename(path)[:-4]))
            if path.startswith("perf/") and path.endswith("_perf.cpp"):
                names.append(re.escape(os.path.basename(path)[:-9]))
            if any(re.search(r"(?<![\w/.-])" + n + r"(?![\w.-])", text) for n in names):
                return True
            if re.search(r"(?<![\w/.-])\.\./\S*" + re.escape(os.path.basename(path)), text):
                return True
        folder = os.path.dirname(folder)
    return False


def check_readme(root, texts):
    """Each block of C++ is cut from an example, whole."""
    if not os.path.exists(os.path.join(root, "README.md")):
        return []
    examples = [text for path, text in texts.items() if path.startswith("tests/examples/")]
    readme = cpp.read(root, "README.md")
    return [f"README.md:{readme[:block.start()].count(chr(10)) + 1}: not in tests/examples"
            for block in re.finditer(r"```cpp\n(.*?)```", readme, re.DOTALL)
            if not any(block[1] in text for text in examples)]


def check(root):
    complaints = []
    paths = cpp.sources(root, *FOLDERS)
    texts = {path: cpp.read(root, path) for path in paths}
    included = {os.path.basename(name[1:-1])
                for text in texts.values() for _, name in cpp.includes(text)}
    complaints += check_readme(root, texts)
    for path in paths:
        if path.startswith("include/") or path.endswith(".cpp"):
            if not listed(root, path) and not path.startswith("tests/install/"):
                complaints.append(f"{path}:1: in no CMakeLists.txt")
        elif os.path.basename(path) not in included:
            complaints.append(f"{path}:1: included by nobody")
        length = texts[path].count("\n")
        for pattern, limit in LIMITS:
            if re.fullmatch(pattern, path):
                if length > limit and "one piece" not in cpp.first_comment(texts[path]).lower():
                    complaints.append(f"{path}:1: {length} lines, at most {limit}; or the first "
                                      "comment says why it is one piece")
                break
    return f"{len(paths)} files", complaints


if __name__ == "__main__":
    cpp.run(check)
