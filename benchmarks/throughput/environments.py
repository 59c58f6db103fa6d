"""Environments of the peers: each has its own, as some ask for an older redis-py than ours."""

import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".venv-peers"
TIMEOUT = 300.0  # seconds


def bin_of(needs: str) -> Path:
    """The folder of programs of what is needed, installed on first use.

    Raises:
        RuntimeError: it can't be installed.
    """
    if not needs:
        return Path(sys.executable).parent
    folder = FOLDER / needs.split(maxsplit=1)[0].partition("[")[0]
    ready = folder / ".ready"
    if not ready.exists():
        print(f"installing {needs} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        installed = subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *needs.split()],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if installed.returncode:
            raise RuntimeError(f"{needs} can't be installed: {installed.stderr.strip()[-300:]}")
        ready.touch()
    return folder / "bin"
