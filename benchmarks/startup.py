"""Compare the start of `pfa-flux --help` with the import of the libraries that it needs."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.timing import Report, arguments, in_ms, side_by_side


def main() -> int:
    """Run the benchmark. Returns 1 if --help takes more than twice as long as importing typer and rich."""
    options = arguments(__doc__, 15).parse_args()
    command = str(Path(sys.executable).with_name("pfa-flux"))
    contenders = {
        "python -c pass": [sys.executable, "-c", "pass"],
        'python -c "import typer, rich"': [sys.executable, "-c", "import typer, rich"],
        "pfa-flux --help": [command, "--help"],
        'python -c "import pfa_flux"': [sys.executable, "-c", "import pfa_flux"],
        'python -c "import influxdb_client"': [sys.executable, "-c", "import influxdb_client"],
        "pfa-flux demo": [command, "demo", "--quiet"],
    }

    def run(words: list[str]) -> None:
        subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    timings = side_by_side({name: partial(run, words) for name, words in contenders.items()}, options.rounds)
    report, base = Report(), 'python -c "import typer, rich"'
    report.table("Start", timings, base)
    start, bare = timings["pfa-flux --help"], timings[base]
    report.require("typer and rich / (--help / 2)", 2 * bare.best / start.best, 1, in_ms(bare, start))
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
