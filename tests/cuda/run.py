"""Run the tests marked `gpu` in a process of their own: on a GPU or a simulated one, else not.

A package `fakecuda` in ../shared/fakecuda simulates the device where there is a C++ compiler. It is
compiled once a version of torch, into a folder of the user's cache. `make test-cuda` runs this.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SIMULATOR = HERE.parents[2] / "shared" / "fakecuda"


def has_device() -> bool:
    """Whether there is a real one."""
    import torch

    return torch.cuda.is_available()


def why_not() -> str | None:
    """Return why no device can be simulated, or None."""
    if not SIMULATOR.exists():
        return "there is no CUDA device, and nothing to simulate one with"
    if shutil.which("c++") is None or shutil.which("ninja") is None:
        return "there is no CUDA device, and no C++ compiler with ninja to simulate one"
    return None


def main() -> int:
    """Run the tests; return the exit code."""
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ["PATH"]]  # ninja of this environment
    )
    os.environ.update(PATH=path, OMP_NUM_THREADS="1")
    words = [sys.executable, "-m", "pytest", str(HERE.parent), "-m", "gpu", *sys.argv[1:]]
    if has_device():
        return subprocess.run(words, check=False).returncode
    if reason := why_not():
        print(f"Tests marked gpu: skipped, {reason}.")
        return 0
    os.environ["PYTHONPATH"] = str(SIMULATOR)
    subprocess.run([sys.executable, "-m", "fakecuda.build"], check=True, stdout=subprocess.DEVNULL)
    return subprocess.run([*words, "-p", "fakecuda.plugin"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
