"""What a script runs."""

import hashlib
from pathlib import Path


def code_digest(script: Path) -> str:
    """Hash of a script."""
    return hashlib.sha256(script.read_bytes()).hexdigest()[:16]
