"""Reads what podman's tests printed, and compares it with what is known to fail.

usage: judge.py FILE.out...
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

LINE = re.compile(r"(ok|not ok) \d+ \[([\w-]+)\] (.*)")
# Differ from run to run: identifiers, names and paths of temporary files.
CHANGING = [(re.compile(pattern), with_) for pattern, with_ in (
    (r"\b[0-9a-f]{64}\b", "ID"), (r"ArchiveTestingCtr\w{5}", "CTR"), (r"hi-there-\w{15}", "TEXT"),
    (r"/tmp/coracle-suite\.\w+", "DIR"), (r"podman-apiv2-test\.\w+\.\w{8}", "DIR"), (r"Hello_\w{8}", "TEXT"),
    (r"since=\d+", "since=TIME"), (r"specgen\w{10}", "NAME"), (r"\b[0-9a-f]{12}\b", "ID"),
)]


def known():
    """Checks by file and text, with the reason above them."""
    reasons, reason = {}, ""
    for line in Path(__file__).with_name("known.txt").read_text().splitlines():
        if line.startswith("#"):
            reason = line.removeprefix("#").strip()
        elif line:
            assert reason and line not in reasons, line
            reasons[line] = reason
    return reasons


def checks(path):
    """Each check's name and whether it went well, then what was said of it."""
    found, said = [], []
    for line in path.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if match:
            name = match[3]
            for pattern, with_ in CHANGING:
                name = pattern.sub(with_, name)
            said = []
            found.append((f"{match[2]}: {name}", match[1] == "ok", said))
        elif line.startswith("#"):
            said.append(line)
        elif "Fatal error in" in line or "cannot continue" in line or "Internal error" in line:
            line = re.sub(r"in /\S*/", "in ", line)
            found.append((f"{path.stem}: {line}", False, []))
    return found


def main(files):
    expected = {} if os.environ.get("SUITE_ENGINE") else known()
    ran = {Path(file).stem for file in files}
    failed, passed, told = Counter(), Counter(), {}
    for file in files:
        for name, well, said in checks(Path(file)):
            # podman's own API is only translated, and what follows a wrong status isn't looked at.
            # One check is of the time that requests take.
            if "libpod/" in name.split(" : ")[0] or "# skip" in name or "Time for" in name:
                continue
            # The value that a good one had is a part of its name.
            (passed if well else failed)[name if not well else re.sub(r"(=| \(').*", "", name)] += 1
            told.setdefault(name, said)
    bad = [name for name in failed if name not in expected]
    # A reason that begins with a question mark is of the host: it may fail.
    gone = [
        name for name, reason in expected.items()
        if name not in failed and name.split(":")[0] in ran and not reason.startswith("?")
    ]
    for name in bad:
        print(f"not ok {name}", *told[name], sep="\n  ")
    for name in gone:
        print(f"known.txt: does not fail: {name}")
    print(f"podman's tests: {passed.total()} checks passed, {failed.total()} failed, "
          f"{failed.total() - sum(failed[name] for name in bad)} of them known")
    sys.exit(1 if bad or gone else 0)


main(sys.argv[1:])
