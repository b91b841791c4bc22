"""Settings of the JupyterLab in the container."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from traitlets.config import get_config

TOKEN_FILE = Path(os.environ.get("JUPYTER_TOKEN_FILE") or "/run/rigline/jupyter-token")


def token() -> str:
    """Read the token; without a file it isn't known whether there has to be one."""
    try:
        return TOKEN_FILE.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # Jupyter would go on without these settings after any other exception.
        sys.exit(
            f"No token for Jupyter: {error}.\n"
            "Write one into that file (empty for none), or name another in JUPYTER_TOKEN_FILE."
        )


c = get_config()

c.ServerApp.ip = "0.0.0.0"  # noqa: S104 - the container's own network; compose says who gets in
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/notebooks"
c.ServerApp.allow_remote_access = True
c.IdentityProvider.token = token()
c.ServerApp.allow_root = False
c.LabApp.default_url = "/lab/tree/Graphs.ipynb"
c.Application.log_level = "WARN"

# Nothing asks the network for news, updates or extensions.
c.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
c.LabApp.news_url = None
c.LabApp.extension_manager = "readonly"

# A kernel listens on a socket in the file system, which other containers can't reach.
c.KernelManager.transport = "ipc"
# A notebook that was left open keeps its kernel's memory no longer than this.
c.MappingKernelManager.cull_idle_timeout = 3600
c.MappingKernelManager.cull_connected = False
