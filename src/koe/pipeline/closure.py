"""The closure of a stage script: every file of `koe` that it imports, directly or not, computed from its imports.

The code deps of every dvc.yaml and the key of a training run's checkpoint are derived from it, so that nobody has to
maintain a list. Imports inside functions count; those under `if TYPE_CHECKING:` never run and do not count. Files
beside a module whose names appear in it (templates, style sheets, tables) belong to the closure too.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import koe

SOURCE = Path(koe.__file__).resolve().parents[1]  # the folder that contains the package
_NAMED_IN_TEMPLATE = re.compile(r"""['"]([\w.-]+\.\w+)['"]""")


def closure(script: str | Path) -> list[Path]:
    """Absolute paths of all files that running `script` reads as code: the script first, then the others, sorted.

    Empty modules, such as the `__init__.py` of packages, are left out. Raises FileNotFoundError if there is no script.
    """
    first = Path(script).resolve()
    files: set[Path] = set()
    waiting = [first]
    while waiting:
        new = set(_read_by(waiting.pop(), first.parent)) - files
        files |= new
        waiting += new
    return [first, *sorted(files - {first})]


def code_digest(script: str | Path) -> str:
    """A hash of the closure of `script`: names and contents, independent of where the project is."""
    total = hashlib.sha256()
    for file in closure(script):
        name = file.relative_to(SOURCE) if file.is_relative_to(SOURCE) else Path(file.name)
        total.update(f"{name.as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def _read_by(file: Path, scripts: Path) -> tuple[Path, ...]:
    """The files that a file imports or names; `scripts`: the folder of the stage script."""
    return _read_by_version(file, scripts, file.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _read_by_version(file: Path, scripts: Path, modified: int) -> tuple[Path, ...]:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return tuple(_beside(file, _NAMED_IN_TEMPLATE.findall(text)))
    tree = ast.parse(text)
    running = list(_running(tree))
    modules = (path for node in running for name in _imported(node) for path in _module_files(name, scripts))
    constants = (node.value for node in running if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return (*dict.fromkeys(modules), *_beside(file, constants))


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for branch in node.orelse:
                yield branch
                yield from _running(branch)
        else:
            yield from _running(node)


def _imported(node: ast.AST) -> Iterator[str]:
    """The dotted names that an import statement may refer to; the b of `from a import b` may be a module, a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_files(name: str, scripts: Path) -> Iterator[Path]:
    """The file of a module of Koe or of one beside the stage script, and of its packages; nothing for other modules."""
    parts = name.split(".")
    root = SOURCE if parts[0] == "koe" else scripts
    for depth in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:depth])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file() and _has_code(candidate):
                yield candidate


def _has_code(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def _beside(file: Path, names: Iterator[str] | list[str]) -> Iterator[Path]:
    """Those names that are files in the folder of `file`, modules excepted."""
    for name in names:
        if 0 < len(name) < 100 and re.fullmatch(r"[\w.-]+\.\w+", name) and not name.endswith(".py"):
            path = file.parent / name
            if path != file and path.is_file():
                yield path
