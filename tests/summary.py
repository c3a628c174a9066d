"""Adds up what ./check found: JUnit files of meson and pytest, and the steps that have none.

Prints what failed, then "check: N passed, N failed"; the exit status says whether anything did."""

import glob
import os
import sys
import xml.etree.ElementTree as ET


def main(folder):
    passed, failed = 0, []
    counted = set()
    for path in sorted(glob.glob(os.path.join(folder, "*.xml"))):
        stem = os.path.basename(path)[:-4]
        counted.add(stem)
        for case in ET.parse(path).getroot().iter("testcase"):
            bad = [x for x in case if x.tag in ("failure", "error", "skipped")]
            name = f"{stem}: {case.get('classname') or ''} {case.get('name')}"
            if bad:
                failed.append(f"{name} ({bad[0].tag})")
            else:
                passed += 1
    for path in sorted(glob.glob(os.path.join(folder, "*.step"))):
        stem = os.path.basename(path)[:-5]
        with open(path) as f:
            ok = f.read().strip() == "0"
        if not ok:
            failed.append(f"step {stem}")
        elif stem not in counted:
            passed += 1
    for name in failed:
        print(f"failed: {name}")
    print(f"check: {passed} passed, {len(failed)} failed")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
