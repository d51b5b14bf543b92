"""Fresh buckets for one test, on a server that others share."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path

from tests.engines.http import Client
from tests.engines.servers import IN_MEMORY, Server

_folders: set[Path] = set()


def left_folders() -> list[Path]:
    """Folders of this process's workspaces that are still there."""
    return sorted(folder for folder in _folders if folder.exists())


class Workspace:
    """A raw and a rollup bucket of a test's own; for the embedded engine a data directory."""

    def __init__(self, server: Server, backend: str = "auto") -> None:
        mark = secrets.token_hex(5)
        self.server = server
        self.raw, self.rollup = f"telegraf_{mark}/autogen", f"websites_{mark}/analytics"
        self.task_name = f"downsample_{mark}"
        self.backend = backend
        self.folder = Path(tempfile.mkdtemp(prefix="pfa-flux-workspace-"))
        _folders.add(self.folder)
        if not self.serverless:
            for bucket in (self.raw, self.rollup):
                self.client.make_bucket(bucket)

    @property
    def client(self) -> Client:
        """HTTP to its server."""
        return self.server.client

    @property
    def serverless(self) -> bool:
        """It has no server."""
        return not self.server.url

    def settings(self) -> dict[str, str]:
        """Settings of pfa-flux for it, by their names."""
        own = {"data_dir": str(self.folder / "data")}
        if self.server.name == IN_MEMORY:
            return {**own, "url": f"memory://{self.folder.name}"}
        if self.serverless:
            return own
        return {**self.server.settings(), **own, "raw_bucket": self.raw, "rollup_bucket": self.rollup}

    def env(self) -> dict[str, str]:
        """The same as environment variables."""
        return {f"PFA_FLUX_{key.upper()}": value for key, value in self.settings().items()}

    def close(self) -> None:
        """Remove it, with any task of its name."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.serverless:
            return
        existing = self.client.buckets()
        for bucket in {self.raw, self.rollup} & existing:
            self.client.drop_bucket(bucket)
