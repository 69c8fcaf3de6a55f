"""Just enough of C++ for the checks: tokens with their lines, includes, first comments."""

import os
import re
import sys

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<string>R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<directive>^[ \t]*\#(?:\\\n|[^\n])*?(?=//|/\*|\n|\Z))
      | (?P<word>[A-Za-z_]\w*)
      | (?P<number>\.?\d(?:'?[\w.])*)
      | (?P<symbol>::|->|[^\s\w])""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


class Token:
    def __init__(self, kind, text, line):
        self.kind, self.text, self.line = kind, text, line


def tokens(text):
    """The tokens of `text`; white space is dropped, comments and directives are kept."""
    found, line, at = [], 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        found.append(Token(match.lastgroup if match.lastgroup != "mark" else "string",
                           match.group(), line))
    return found


def includes(text):
    """(line, name with its brackets or quotes) of every #include."""
    pattern = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(<[^>\n]+>|"[^"\n]+")', re.MULTILINE)
    return [(text.count("\n", 0, m.start()) + 1, m.group(1)) for m in pattern.finditer(text)]


def first_comment(text):
    """The block of // lines that the file opens with."""
    lines = []
    for line in text.split("\n"):
        if not line.startswith("//"):
            break
        lines.append(line[2:].strip())
    return " ".join(lines)


def sources(root, *folders, endings=(".hpp", ".cpp")):
    """Paths, relative to root, of the sources below the folders."""
    found = []
    for folder in folders:
        for place, _, names in os.walk(os.path.join(root, folder)):
            found += [os.path.relpath(os.path.join(place, n), root)
                      for n in names if n.endswith(endings)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def run(check):
    """Runs check(root) -> what was seen, complaints; prints both; exits with 1 on a complaint."""
    seen, complaints = check(sys.argv[1] if len(sys.argv) > 1 else ".")
    print(seen)
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)
