#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare the logs of scripts/kselftest.sh: one line for each test. The status
is 1 if there is a difference that no note explains.

usage: kselftest-report.py LOGDIR NOTES

LOGDIR has CONFIG-MODE.DATE files, several of one CONFIG-MODE are its rounds.
NOTES explains: a line 'TEST-REGEX: text' each.
"""
import collections
import os
import re
import sys

ORDER = ("vanilla--", "perf-0", "perf-2", "debug-0", "debug-2")
STATES = {0: "pass", 4: "skip", 124: "timeout", 137: "timeout"}


def unify(name):
    """A name without what differs from run to run."""
    return re.sub(r"0x[0-9a-f]+|\d+", "N", name)


def parse(path):
    """{test: (state, {(sub-test, nth): state}, links)}"""
    results, links, found = {}, {}, {}
    subs = collections.Counter()
    script = False  # in run_vmtests.sh, whose tests are one level down
    with open(path, errors="replace") as log:
        for line in log:
            # run_vmtests.sh mounts an XFS there.
            line = re.sub(r"/tmp/xfs_dir_\w+", "XFS", line.rstrip("\r\n"))
            depth = 0
            while line.startswith("# "):
                line = line[2:]
                depth += 1
            took = re.match(r"## (\d+) s, (-?\d+) links: (.*)", line)
            if took:
                name = re.sub(r"^(sudo -u nobody |bash )?\./", "mm:", took[3])
                links[name] = int(took[2])
                continue
            if depth and line.startswith("selftests: "):
                script = line.endswith(": run_vmtests.sh")
            tap = re.match(r"(not )?ok \d+ ?(.*)", line)
            if not tap:
                continue
            bad, text = tap.groups()
            name, _, why = (" " + text).partition(" # ")
            name = name.strip(" -")
            own = re.match(r"selftests: (\S+): (\S+)", name)
            state = "fail" if bad else "skip" if re.match("skip", why, re.I) else "pass"
            if re.match("timeout", why, re.I):
                state = "timeout"
            code = re.match(r"exit=(\d+)", why)
            if code:
                state = STATES.get(int(code[1]), f"fail {code[1]}")
            if own:
                name = f"{own[1]}:{own[2]}"
            elif script and depth == 1:
                name = "mm:" + re.sub(r"^(sudo -u nobody |bash )?(\./)?", "", name)
            else:
                # A name may be a comment, as of a skipped sub-test.
                key = unify(name or why)
                subs[key] += 1
                found[key, subs[key]] = state
                continue
            if name != "mm:run_vmtests.sh":
                results[name] = (state, found, links.get(name, 0))
                found, subs = {}, collections.Counter()
    # The line about links comes after the result, except in run_vmtests.sh.
    return {n: (s, f, links.get(n, k)) for n, (s, f, k) in results.items()}


def cell(rounds):
    """What the rounds of one kernel say about a test."""
    if not rounds:
        return "-"
    states = sorted({r[0] for r in rounds})
    text = "/".join(states)
    count = collections.Counter(s.split()[0] for s in rounds[-1][1].values())
    if count:
        text += f" ({count['pass']}+{count['fail']}+{count['skip']})"
    return text


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    logdir, notes = sys.argv[1:]
    runs = collections.defaultdict(list)
    for name in sorted(os.listdir(logdir)):
        if re.fullmatch(r"[a-z]+-(-|\d)\.[-\d]+", name):
            runs[name.split(".")[0]].append(parse(os.path.join(logdir, name)))
    if not runs:
        print(f"kselftest-report.py: no logs in {logdir}", file=sys.stderr)
        return 2
    kinds = sorted(runs, key=lambda k: ORDER.index(k) if k in ORDER else 99)
    why = []
    if os.path.exists(notes):
        with open(notes) as lines:
            for line in lines:
                if ": " in line and not line.startswith("#"):
                    why.append(line.rstrip("\n").split(": ", 1))
    tests = list(dict.fromkeys(t for k in kinds for r in runs[k] for t in r))
    print("The kernel's own selftests. A cell is the result and, of its sub-tests,")
    print("(passed+failed+skipped); with a '/' if rounds differ, '-' if it was not run. '!': not")
    print("the same everywhere. 'links': chunks linked with vm.ptshare=2 in the last round.\n")
    head = {k: k.replace("--", "").replace("-", " ptshare=") for k in kinds}
    wide = [max([len(head[k])] + [len(cell([r[t] for r in runs[k] if t in r])) for t in tests]) for k in kinds]
    name = max(len(t) for t in tests)
    print("  " + " ".join(["test".ljust(name)] + [head[k].ljust(w) for k, w in zip(kinds, wide)] + ["  links"]))
    differ = unexplained = 0
    total = collections.defaultdict(collections.Counter)
    for test in tests:
        rounds = {k: [r[test] for r in runs[k] if test in r] for k in kinds}
        cells = [cell(rounds[k]) for k in kinds]
        seen = {k: {(r[0], tuple(sorted(r[1].items()))) for r in rounds[k]} for k in kinds}
        same = len({frozenset(s) for s in seen.values() if s}) == 1
        links = [r[2] for k in kinds if k.endswith("-2") for r in rounds[k][-1:]]
        differ += not same
        for k, c in zip(kinds, cells):
            total[k][c.split(" ")[0].split("/")[0]] += 1
        print(" ".join([" " if same else "!", test.ljust(name)] + [c.ljust(w) for c, w in zip(cells, wide)] +
                       [str(links[-1] if links else "-").rjust(6)]))
        if not same:
            subs = dict.fromkeys(s for k in kinds for r in rounds[k] for s in r[1])
            for sub in subs:
                each = {head[k]: "/".join(sorted({r[1].get(sub, "absent") for r in rounds[k]})) for k in kinds if rounds[k]}
                if len(set(each.values())) > 1:
                    print(f"      {sub[0]} [{sub[1]}]: " + ", ".join(f"{k} {e}" for k, e in each.items()))
        known = [text for regex, text in why if re.fullmatch(regex, test)]
        if not same or any(c.split(" ")[0] != "pass" for c in cells):
            for text in known:
                print(f"      {text}")
        unexplained += not same and not known
    print()
    for k in kinds:
        print(f"{head[k]}: " + ", ".join(f"{n} {s}" for s, n in sorted(total[k].items())))
    print(f"{len(tests)} tests, {differ} not the same everywhere, {unexplained} of these without an explanation")
    return 1 if unexplained else 0


sys.exit(main())
