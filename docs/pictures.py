"""Make the pictures of the report, the live page and the plots: `python docs/pictures.py`.

They show simulated visits of 29 days. Needs Chromium, and the extras `test` and `notebook`.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image

import pfa_flux
from pfa_flux.demo import HOSTS, page_views, points

_PICTURES = Path(__file__).parent / "pictures"
_DAYS = 29
_COLOURS = 128


def photograph(address: str, name: str, width: int, height: int) -> None:
    """Keep what Chromium shows of an address."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        size = f"--window-size={width},{height}"
        command = ["chromium", *options, size, f"--screenshot={shot}", address]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        compress(shot, name)


def compress(made: Path, name: str) -> None:
    """Keep a picture with few colours."""
    with Image.open(made) as image:
        image.convert("RGB").quantize(_COLOURS).save(_PICTURES / name, optimize=True)


def main() -> None:
    """Make all of them."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        settings = folder / "pfa-flux.toml"
        domains = ", ".join(f'"{host.domain}"' for host in HOSTS)
        settings.write_text(f'data_dir = "{folder}/data"\n[sites.example]\ndomains = [{domains}]\n')
        with pfa_flux.connect(config=settings) as analytics:
            analytics.write(points(page_views(time.time_ns(), _DAYS), analytics.settings.schema))
            networks = analytics.blocked_ratio(by="network", start="28d")
            daily = analytics.blocked_ratio(by=["network", "time"], every="1d", start="28d")
            for name, drawn in (("plot-network.png", networks.plot()), ("plot-time.png", daily.plot())):
                drawn.savefig(folder / name, bbox_inches="tight")
                compress(folder / name, name)
        config = ["--config", str(settings)]
        subprocess.run(["pfa-flux", "install-task", *config], check=True)
        subprocess.run(["pfa-flux", "task", "run", "--due", *config], check=True)
        report = folder / "report.html"
        subprocess.run(
            ["pfa-flux", "report", "--site", "example", "--start", "14d", "--out", report, *config], check=True
        )
        photograph(report.as_uri(), "report-light.png", 1020, 1640)
        view = ["pfa-flux", "view", "--no-browser", *config]
        with subprocess.Popen(view, stdout=subprocess.PIPE, text=True) as live:
            assert live.stdout is not None
            address = live.stdout.readline().strip()
            photograph(f"{address}?of=example&range=14d&by=page&compare=1", "view.png", 1020, 1130)
            live.terminate()


if __name__ == "__main__":
    main()
