#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: coverage.py BUILDDIR FILE.gcda...
Lines of mm/ptshare and include/linux/ptshare.h that the counters say were run, file by
file, and the others one by one. The .gcno files are those of BUILDDIR/mm/ptshare."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

OURS = ("/mm/ptshare/", "/include/linux/ptshare.h", "/include/trace/events/ptshare.h")


def counts(objects, gcda, lines):
    """Add what gcov says about one object file to lines: {source: {number: count}}."""
    with tempfile.TemporaryDirectory() as tmp:
        name = os.path.basename(gcda)[:-len(".gcda")]
        shutil.copy(gcda, tmp)
        shutil.copy(os.path.join(objects, "mm/ptshare", name + ".gcno"), tmp)
        out = subprocess.run(["gcov", "--json-format", "--stdout", os.path.join(tmp, name + ".gcda")],
                             cwd=objects, stdout=subprocess.PIPE, check=True).stdout
    for text in out.splitlines():
        for source in json.loads(text)["files"]:
            path = os.path.realpath(os.path.join(objects, source["file"]))
            if any(o in path for o in OURS):
                of_file = lines.setdefault(path, {})
                for line in source["lines"]:
                    number = line["line_number"]
                    of_file[number] = of_file.get(number, 0) + line["count"]


def main():
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    lines = {}
    for gcda in sys.argv[2:]:
        counts(os.path.realpath(sys.argv[1]), gcda, lines)
    if not lines:
        sys.exit("coverage.py: no line of mm/ptshare in these files")
    total = reached = 0
    print("%-40s %7s %8s %7s" % ("file", "lines", "reached", "%"))
    base = os.path.commonpath(lines) if len(lines) > 1 else os.path.dirname(next(iter(lines)))
    for path, of_file in sorted(lines.items()):
        hit = sum(1 for n in of_file.values() if n)
        print("%-40s %7d %8d %7.1f" % (os.path.relpath(path, base), len(of_file), hit,
                                       100 * hit / len(of_file)))
        total += len(of_file)
        reached += hit
    print("%-40s %7d %8d %7.1f" % ("all", total, reached, 100 * reached / total))
    print("\nLines that nothing reaches:")
    for path, of_file in sorted(lines.items()):
        with open(path, encoding="utf-8") as source:
            text = source.readlines()
        for number in sorted(n for n, count in of_file.items() if not count):
            print("%s:%d:%s" % (os.path.relpath(path, base), number, text[number - 1].rstrip()))


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError, ValueError) as e:
        sys.exit("coverage.py: %s" % e)
