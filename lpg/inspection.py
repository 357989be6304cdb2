"""Pictures of what a learned LPG does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.types import PyTree
from lpg.objective import LPG


def inspect(objective: LPG, eta: PyTree, metadata: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw; being written."""
    return []
