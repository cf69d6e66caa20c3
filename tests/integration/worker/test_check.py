"""`python -m waggle_worker.check`, which `waggle up` and `waggle worker --processes` call first: it ends, whatever the module has started."""

import os
import subprocess
import sys
from pathlib import Path

THREAD = """
import threading, time

from waggle import App

threading.Thread(target=time.sleep, args=(60,)).start()
app = App()
"""


def test_a_thread_of_the_users_module_does_not_hold_it_up(folder: Path) -> None:
    (folder / "starts_a_thread.py").write_text(THREAD)
    environ = {**os.environ, "WAGGLE_APP": "starts_a_thread:app"}
    run = subprocess.run([sys.executable, "-m", "waggle_worker.check"], cwd=folder, env=environ, capture_output=True, timeout=30, check=False)
    assert (run.returncode, run.stderr) == (0, b"")


def test_what_cannot_be_loaded_is_exit_code_2(folder: Path) -> None:
    (folder / "fails.py").write_text(THREAD + "raise RuntimeError('not today')")
    environ = {**os.environ, "WAGGLE_APP": "fails:app"}
    run = subprocess.run([sys.executable, "-m", "waggle_worker.check"], cwd=folder, env=environ, capture_output=True, timeout=30, check=False)
    assert run.returncode == 2
    assert b"not today" in run.stderr
