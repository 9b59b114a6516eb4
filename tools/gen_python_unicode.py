"""Writes src/base/python_unicode_tables.h: what the methods of Python's str say about each code point.

    python3.11 tools/gen_python_unicode.py > src/base/python_unicode_tables.h

Chat templates are rendered by Python in the reference, so its own answers are the table (Python 3.11: Unicode 14)."""
import operator
import sys
import unicodedata

CLASSES = ["isalpha", "isdecimal", "isdigit", "isnumeric", "isupper", "islower", "istitle", "isprintable"]
MAPS = ["upper", "lower", "title", "casefold"]
LAST = 0x110000


def ranges(holds):
    out = []
    for cp in range(LAST):
        if holds(chr(cp)):
            if out and out[-1][1] == cp - 1:
                out[-1][1] = cp
            else:
                out.append([cp, cp])
    return out


def is_ignorable(c):
    """Case_Ignorable: no method says it, but what a final sigma looks past does."""
    return ("A" + c + "\u03a3").lower()[-1] == "\u03c2" != ("1" + c + "\u03a3").lower()[-1]


def wrap(cells):
    lines, line = [], "   "
    for cell in cells:
        if len(line) + len(cell) + 2 > 118:
            lines.append(line)
            line = "   "
        line += " " + cell + ","
    return "\n".join(lines + [line])


print("/* Made by tools/gen_python_unicode.py from Python %d.%d, Unicode %s. Do not edit. */" % (*sys.version_info[:2], unicodedata.unidata_version))
print("// clang-format off")
for name in [*CLASSES, "isignorable"]:
    holds = is_ignorable if name == "isignorable" else operator.methodcaller(name)
    cells = ["{0x%x, 0x%x}" % (a, b) for a, b in ranges(holds)]
    print("static const uni_range uni_%s[%d] = {\n%s\n};" % (name, len(cells), wrap(cells)))
for name in MAPS:
    single, many = [], []
    for cp in range(LAST):
        to = getattr(chr(cp), name)()
        if to == chr(cp):
            continue
        if len(to) == 1:
            delta = ord(to) - cp
            # runs with a step of 1 or 2 (upper and lower case letters often alternate)
            if single and single[-1][3] == delta and cp - single[-1][1] in (1, 2) and single[-1][2] in (0, cp - single[-1][1]):
                single[-1][2] = cp - single[-1][1]
                single[-1][1] = cp
            else:
                single.append([cp, cp, 0, delta])
        else:
            many.append([cp] + [ord(c) for c in to] + [0] * (3 - len(to)))
    cells = ["{0x%x, 0x%x, %d, %d}" % (a, b, step or 1, delta) for a, b, step, delta in single]
    print("static const uni_run uni_%s_runs[%d] = {\n%s\n};" % (name, len(cells), wrap(cells)))
    cells = ["{" + ", ".join("0x%x" % c for c in row) + "}" for row in many]
    print("static const uint32_t uni_%s_many[%d][4] = {\n%s\n};" % (name, max(len(cells), 1), wrap(cells or ["{0}"])))
print("// clang-format on")
