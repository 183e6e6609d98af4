"""The strings under the fields of a settings dataclass, which Python itself forgets."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from typing import Any


def field_docs(settings: type[Any]) -> dict[str, str]:
    """Return what the source says under each field, by name, on one line; {} without source."""
    docs: dict[str, str] = {}
    for kind in reversed(settings.__mro__[:-1]):
        docs |= _own_docs(kind)
    return docs


def _own_docs(kind: type[Any]) -> dict[str, str]:
    try:
        tree = ast.parse(inspect.cleandoc(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return {}
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    docs: dict[str, str] = {}
    for field, below in pairwise(body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                docs[name] = " ".join(text.split())
    return docs
