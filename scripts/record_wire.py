"""Records testdata/wire anew from the real gost.

GOST_BIN=/path/to/gost python scripts/record_wire.py [NAME]

Linux only. Needs the test requirements; without NAME (part of a case's name) all cases.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conformance.targets import Targets  # noqa: E402
from tests.wire_replay.cases import CASES  # noqa: E402
from tests.wire_replay.exchange import write_exchange  # noqa: E402
from tests.wire_replay.recorder import record  # noqa: E402


def main() -> int:
    gost = os.environ.get("GOST_BIN") or shutil.which("gost")
    if not gost:
        print("needs the real gost in GOST_BIN or on the PATH", file=sys.stderr)
        return 1
    said = subprocess.run([gost, "-V"], capture_output=True, text=True, check=True).stdout.split()
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    targets = Targets()
    ports = {name: int(at.rpartition(":")[2]) for name, at in targets.addresses.items()}
    failed = 0
    for case in CASES:
        if wanted not in case.exchange.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = record(case, gost, ports, Path(folder))
            except Exception as error:  # the other cases are recorded all the same
                print(f"{case.exchange.name}: {type(error).__name__}: {error}", file=sys.stderr)
                failed += 1
                continue
        write_exchange(made, " ".join(said[:2]))
        print(f"{made.name}: {len(made.steps)} steps")
    targets.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
