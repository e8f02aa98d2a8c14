"""The type checker that tests hang into neuronscope: beartype, on functions whose annotations speak of tensors.

Plain options are left to the package's own errors, which tests want to see.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import threading
from collections.abc import Iterator
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import cache_from_source, decode_source
from inspect import isgeneratorfunction, signature
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any
from unittest.mock import patch

from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

_SHAPED = re.compile(r"\b(Float|Int|Bool|UInt8|UInt16)\[")
_CONF = BeartypeConf(is_pep484_tower=True)  # an int will do for a float
#: The decorator, and where a module finds it.
_NAME, _MODULE = "shapes", "shape_checker"
#: Compiled modules of another version of this file are not taken.
_TAG = "shapes" + hashlib.md5(Path(__file__).read_bytes()).hexdigest()[:8]


def shapes(thing: Any) -> Any:
    """Check arguments and results of functions with tensor annotations, and the fields of such classes."""
    if not _speaks_of_tensors(thing):
        return thing
    within = isinstance(thing, FunctionType) and "<locals>" in thing.__qualname__ and not isgeneratorfunction(thing)
    return _inner(thing) if within else jaxtyped(typechecker=_checked)(thing)


#: Code of functions within functions -> their checks, which call whichever function was asked last.
_INNER: dict[CodeType, Any] = {}
_asked = threading.local()


def _inner(function: FunctionType) -> Any:
    """As :func:`shapes`, of what is made anew with each call of another function: checks are compiled the first time.

    To compile checks takes a thousand times as long as to make the function.
    """
    checks = _INNER.get(function.__code__)
    if checks is None:
        stack = _asked

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return stack.functions.pop()(*args, **kwargs)

        # Names in its annotations are those of the function's module. What the function holds on to is let go with it.
        made = wraps(function)(FunctionType(stand_in.__code__, function.__globals__, closure=stand_in.__closure__))
        vars(made)["__signature__"] = signature(function)
        del vars(made)["__wrapped__"]
        checks = _INNER[function.__code__] = jaxtyped(typechecker=_checked)(made)

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        functions: list[Any] = _asked.__dict__.setdefault("functions", [])
        before = len(functions)
        functions.append(function)
        try:
            return checks(*args, **kwargs)
        finally:
            del functions[before:]  # where an argument was refused it was not called

    return checked


def _checked(function: Any) -> Any:
    return beartype(conf=_CONF)(function) if _speaks_of_tensors(function) else function


def _speaks_of_tensors(thing: Any) -> bool:
    return any(_SHAPED.search(str(hint)) for hint in getattr(thing, "__annotations__", {}).values())


def install(package: str) -> None:
    """Decorate a package's functions and classes when it is imported, where annotations speak of tensors.

    As jaxtyping's own import hook, which takes seconds: it decorates everything, and goes through every expression.
    """
    sys.meta_path.insert(0, _Finder(package))


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self._package:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> Any:
        def ours(path: Any, debug_override: Any = None, *, optimization: Any = None) -> str:
            return cache_from_source(path, debug_override, optimization=_TAG)

        with patch("importlib._bootstrap_external.cache_from_source", ours):  # plain runs have caches of their own
            return super().get_code(fullname)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:
        text = decode_source(data)
        tree = ast.parse(text, path)
        decorated = _decorated(tree, text.splitlines())
        if decorated:
            at = next(
                (k for k, one in enumerate(tree.body) if not isinstance(one, ast.ImportFrom | ast.Expr)), len(tree.body)
            )
            tree.body.insert(at, ast.parse(f"from {_MODULE} import {_NAME}").body[0])
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)


def _decorated(tree: ast.Module, lines: list[str]) -> int:
    """Decorate what may speak of tensors, as far as its lines tell; how many."""
    count = 0
    for node in _definitions(tree):
        if isinstance(node, ast.ClassDef):
            hints = [one for one in node.body if isinstance(one, ast.AnnAssign)]
            head = "\n".join("\n".join(lines[one.lineno - 1 : one.end_lineno]) for one in hints)
        else:
            head = "\n".join(lines[node.lineno - 1 : node.body[0].lineno])
        if _SHAPED.search(head):
            name = ast.copy_location(ast.Name(_NAME, ast.Load()), node)
            # Innermost of a function, as decorators may hide its annotations; outermost of a class, as `dataclass` has
            # to have made its __init__.
            node.decorator_list.insert(0 if isinstance(node, ast.ClassDef) else len(node.decorator_list), name)
            count += 1
    return count


def _definitions(node: Any) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes in a module, also those in others and in branches: statements only, no expression."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for below in getattr(node, part, ()):
            if isinstance(below, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield below
            yield from _definitions(below)
