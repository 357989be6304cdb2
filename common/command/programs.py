"""Compiled programs on disk: compiling is most of what a short run takes, and the next one of the same sizes need not
do it again.
"""

import contextlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import jax

SIZE = 1 << 30
"""Bytes; programs that were used least recently go first."""


def keep_programs() -> None:
    """Keep compiled programs in the user's cache folder. Does nothing where JAX_COMPILATION_CACHE_DIR says where they
    are kept, JAX_ENABLE_COMPILATION_CACHE=false that they are not, or no folder can be made.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_compilation_cache_max_size", SIZE)


def cache_folder() -> Path:
    """One for each kind of machine and version: what was compiled for one CPU may not run on another that shares the
    user's home.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        cpu = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    except OSError:
        cpu = [platform.node()]
    kind = "\n".join([platform.machine(), version("jax"), version("jaxlib"), *cpu])
    given = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return home / "metaobj" / "programs" / f"{crc32(kind.encode()):08x}"
