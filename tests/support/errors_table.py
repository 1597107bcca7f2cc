"""docs/errors.md: every error of the library with its remedy, from the code.

    python tests/support/errors_table.py

writes the page. An error is a call of a class of ``errors.py``, in a `raise` or in a function that returns the error.
The text after the last ``"; "`` of its message is the remedy; without one, the class has a default remedy. Left out:

- classes that are not in ``errors.py``, since the library or pydantic catches them;
- messages that only pass on the text of another error;
- messages that begin with "it" or "its": a caller puts the name of the thing before them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "src/noether/data/zarr_store"
PAGE = REPOSITORY / "docs/errors.md"
COMMAND = "python tests/support/errors_table.py"

REMEDIES = {
    "ArgumentError": "pass a value that the message expects",
    "SampleIdError": "rename the sample",
    "SampleDataError": "correct the arrays of the sample, and write or convert it again",
    "ValueOverflowError": "store the field in a wider dtype (`--field-dtype`)",
    "NonFiniteError": "correct the values, or allow them (`--non-finite allow`)",
    "ManifestError": "repair the store: `noether-zarr repair STORE`",
    "ManifestConflictError": "use the settings of the store, or another store",
    "OriginalOrderError": "read in stored order",
    "UnknownNameError": "use a name of the store; `noether-zarr info STORE` lists them",
    "CorruptDataError": "find the damage with `noether-zarr verify STORE`, repair it with `noether-zarr repair STORE`",
    "TooLargeError": "request less at a time, or use a machine with more memory",
    "StorageError": "check the address, the permissions and the connection, and run it again",
    "SourceError": "correct the files of the sample, or leave the sample out",
    "MeshError": "use the mesh from which the sample was converted",
    "WorkerError": "use fewer workers, or check the cluster",
    "WorkerDiedError": "use fewer workers or a longer timeout, and run the same command again",
    "MissingDependencyError": "install the library with the command in the message",
}

# A remedy tells the reader to do something; what begins with these words belongs to the message.
_NO_REMEDIES = ("expected ", "got ", "nothing was ", "there is ", "there are ", "it has ", "presets: ", "mappings: ")
# Calls whose placeholder is that of their first argument, and methods whose placeholder is that of their object.
_OF_ARGUMENT = frozenset(
    [
        "repr",
        "str",
        "sorted",
        "min",
        "max",
        "list",
        "tuple",
        "set",
        "decimal",
        "int",
        "float",
        "quoted",
        "type",
        "getattr",
        "fromkeys",
        "printable",
    ]
)
_OF_OBJECT = frozenset(
    [
        "splitlines",
        "decode",
        "tolist",
        "items",
        "keys",
        "values",
        "get",
        "upper",
        "lower",
        "strip",
        "removeprefix",
        "removesuffix",
        "partition",
        "rpartition",
        "error_count",
        "bit_length",
        "format",
        "hex",
    ]
)
# Functions of the library that return the end of a message.
_KNOWN_TEXTS = {"nearest_names": "did you mean <nearest names>?"}
_IN_MESSAGE = "the message names it"
_HEAD = """# Errors

This page lists every error of the library with its remedy. `<…>` stands for a value, such as a name or a path; text in
`[…]` may be missing.

`{command}` writes this page from the code; do not edit it.
"""


@dataclass(frozen=True, order=True)
class Row:
    """One line of the table."""

    kind: str
    message: str
    remedy: str
    module: str


Names = dict[str, ast.expr | None]
"""Names of a function with their values; None for a name with several values or none, such as a parameter."""


class Module:
    """The parts of a module that its messages are made of.

    Parameters
    ----------
    path : Path
        Its file.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().removeprefix("zarr_store/")
        self.tree = ast.parse(path.read_text(encoding="utf-8"))

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        return {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """Names that the module or a class of it assigns once."""
        return {name: value for name, value in _assigned(self.tree).items() if value is not None}

    def calls(self) -> Iterator[tuple[ast.Call, Names]]:
        """Yield each call of the module with the names of the functions around it."""
        open_nodes: list[tuple[ast.AST, Names]] = [(self.tree, {})]
        while open_nodes:
            node, names = open_nodes.pop()
            if isinstance(node, ast.Call):
                yield node, names
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = names | _assigned(node)
            open_nodes += [(child, names) for child in ast.iter_child_nodes(node)]


def _assigned(scope: ast.AST) -> Names:
    """Return the names of a module or function with their values; None for a name that has no value or several."""
    found: dict[str, list[ast.expr | None]] = {}
    open_nodes = list(ast.iter_child_nodes(scope))
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
            open_nodes.append(node.value)
            continue
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.setdefault(node.target.id, []).append(node.value)
            open_nodes.append(node.value)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.setdefault(node.id, []).append(None)
        elif isinstance(node, ast.arg):
            found.setdefault(node.arg, []).append(None)
        elif isinstance(node, ast.ExceptHandler) and node.name is not None:
            found.setdefault(node.name, []).append(None)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            open_nodes += ast.iter_child_nodes(node)
    return {name: values[0] if len(values) == 1 else None for name, values in found.items()}


class Renderer:
    """Turns the expression of a message into text.

    Parameters
    ----------
    module : Module
        Where the expression is.
    everywhere : dict of str to ast.expr
        Constants in upper case of all modules.
    names : dict of str to ast.expr or None, optional
        Names of the functions around the expression; see `_assigned`.
    """

    def __init__(self, module: Module, everywhere: dict[str, ast.expr], names: Names | None = None) -> None:
        self.module = module
        self.everywhere = everywhere
        self.names = names or {}

    def texts(self, node: ast.expr, depth: int = 1) -> list[str]:
        """Return the texts that an expression may have; `depth` names and calls are looked up."""
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            return ["".join(self._part(part, depth) for part in node.values)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [left + right for left in self.texts(node.left, depth) for right in self.texts(node.right, depth)]
        if isinstance(node, ast.IfExp):
            return [*self.texts(node.body, depth), *self.texts(node.orelse, depth)]
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in self.texts(value, depth)]
        if depth > 0:
            found = self._looked_up(node, depth - 1)
            if found:
                return found
        return [f"<{_placeholder(node)}>"]

    def _part(self, part: ast.expr, depth: int) -> str:
        if isinstance(part, ast.Constant):
            return str(part.value)
        value = part.value if isinstance(part, ast.FormattedValue) else part
        if isinstance(value, ast.IfExp):
            return _either(value, [self.texts(one, 0)[0] for one in (value.body, value.orelse)])
        if isinstance(value, ast.Call) and _name(value.func) in _KNOWN_TEXTS:
            return _KNOWN_TEXTS[_name(value.func)]
        if isinstance(value, ast.Call) and _name(value.func) == "join" and value.args and _is_constant(value.args[-1]):
            return f"<store>/{self._part(value.args[-1], 0)}"
        texts = self._looked_up(value, depth - 1) if depth > 0 or _is_constant(value) else []
        return texts[0] if len(texts) == 1 else f"<{_placeholder(value)}>"

    def _looked_up(self, node: ast.expr, depth: int) -> list[str]:
        """Return the texts of a name that is assigned once, or of a function with literal results."""
        if isinstance(node, ast.Name | ast.Attribute):
            name = _name(node)
            value = self.module.constants.get(name) or self.everywhere.get(name)
            value = self.names.get(name, value) if isinstance(node, ast.Name) else value
            is_text = isinstance(value, ast.JoinedStr | ast.IfExp) or (
                isinstance(value, ast.Constant) and isinstance(value.value, str)
            )
            is_known = isinstance(value, ast.Call) and _name(value.func) in _KNOWN_TEXTS
            texts = self.texts(value, depth) if value is not None and is_text else []
            texts = [self._part(value, 0)] if value is not None and is_known else texts
        elif isinstance(node, ast.Call) and _name(node.func) in self.module.functions:
            function = self.module.functions[_name(node.func)]
            returned = [one.value for one in ast.walk(function) if isinstance(one, ast.Return)]
            texts = [text for value in returned if value and not _is_none(value) for text in self.texts(value, 0)]
        elif isinstance(node, ast.Call) and _name(node.func) == "format" and isinstance(node.func, ast.Attribute):
            texts = [re.sub(r"\{(\w+)[^}]*\}", r"<\1>", text) for text in self._looked_up(node.func.value, depth)]
        else:
            texts = []
        return [text for text in texts if _says_something(text)]


def _either(node: ast.IfExp, texts: list[str]) -> str:
    """Return the two texts of a choice as one: in brackets where one is empty, so that the text may be missing."""
    if any(isinstance(one, ast.JoinedStr | ast.Constant) for one in (node.body, node.orelse)):
        present = [text for text in texts if text]
        return f"[{present[0]}]" if len(present) == 1 else "|".join(present)
    return f"<{_placeholder(node.body)}>"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_constant(node: ast.expr) -> bool:
    """Return whether an expression is a name in upper case."""
    return _name(node).strip("_").isupper()


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _placeholder(node: ast.expr) -> str:
    """Return a readable name for the value of an expression."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = _name(node).strip("_").replace("_", " ") or "value"
        return name.lower() if name.isupper() else name
    if isinstance(node, ast.Call):
        name = _name(node.func)
        arguments = [one.value if isinstance(one, ast.Starred) else one for one in node.args]
        if name == "len" and arguments:
            return f"number of {_placeholder(arguments[0])}"
        if name in {"join", "map", "nearest_names"} and arguments:
            return _placeholder(arguments[-1])
        if name in _OF_ARGUMENT and arguments:
            return _placeholder(arguments[0])
        if name in _OF_OBJECT and isinstance(node.func, ast.Attribute):
            return _placeholder(node.func.value)
        return name.strip("_").replace("_", " ") or "value"
    if isinstance(node, ast.Subscript):
        return _placeholder(node.value)
    if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        return _placeholder(node.generators[0].iter)
    if isinstance(node, ast.BinOp | ast.BoolOp):
        operands = [node.left, node.right] if isinstance(node, ast.BinOp) else node.values
        return next((_placeholder(one) for one in operands if not isinstance(one, ast.Constant)), "value")
    if isinstance(node, ast.IfExp):
        return _placeholder(node.body)
    if isinstance(node, ast.NamedExpr):
        return _placeholder(node.target)
    return "value"


def _says_something(text: str) -> bool:
    """Return whether a text has words of its own: more than placeholders."""
    return re.search(r"[A-Za-z]{2}", re.sub(r"<[^<>]*>", "", text)) is not None


def _modules() -> Iterator[Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield Module(path)
    yield Module(PACKAGE.parent / "schemas.py")


def error_kinds() -> list[str]:
    """Return the names of the classes of ``errors.py``, in the order of the module."""
    errors = Module(PACKAGE / "errors.py")
    classes = [node for node in errors.tree.body if isinstance(node, ast.ClassDef)]
    return [one.name for one in classes if one.name.endswith("Error") and one.name != "StoreError"]


def _own_message(errors: Module, kind: str) -> tuple[list[str], ast.expr] | None:
    """Return the parameters of a class that makes its message itself, and the message."""
    [node] = [one for one in errors.tree.body if isinstance(one, ast.ClassDef) and one.name == kind]
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            calls = [one for one in ast.walk(function) if isinstance(one, ast.Call) and _name(one.func) == "__init__"]
            if calls and isinstance(calls[0].args[0], ast.JoinedStr):
                return [one.arg for one in function.args.args[1:]], calls[0].args[0]
    return None


def rows() -> list[Row]:
    """Return the lines of the table, sorted, each once."""
    modules = list(_modules())
    errors = Module(PACKAGE / "errors.py")
    kinds = error_kinds()
    everywhere = {
        name: value for module in modules for name, value in module.constants.items() if name.strip("_").isupper()
    }
    found = set[Row]()
    for module in modules:
        for call, names in module.calls():
            if not (_name(call.func) in kinds and call.args):
                continue
            renderer = Renderer(module, everywhere, names)
            kind = _name(call.func)
            own = _own_message(errors, kind)
            if own is None:
                texts = renderer.texts(call.args[0], 2)
            else:
                given = {name: renderer.texts(one, 1)[0] for name, one in zip(own[0], call.args, strict=False)}
                [text] = Renderer(errors, {}).texts(own[1], 0)
                texts = [re.sub(r"<(\w+)>", partial(_filled, given), text)]
            split = [_split(text, kind) for text in texts if not text.startswith(("it ", "its "))]
            found |= {Row(kind, *one, module.name) for one in split if _says_something(one[0])}
    return sorted(found)


def _filled(given: dict[str, str], match: re.Match[str]) -> str:
    return given.get(match[1], match[0])


def _split(text: str, kind: str) -> tuple[str, str]:
    """Return the message and its remedy."""
    text = re.sub(r"\[; ([^\[\]]*)\]$", r"; \1", " ".join(text.split()))
    message, _, remedy = text.rpartition("; ")
    is_remedy = message and not remedy.startswith(_NO_REMEDIES)
    if is_remedy and not _says_something(remedy):
        return message, _IN_MESSAGE
    return (message, remedy.removesuffix(".")) if is_remedy else (text, REMEDIES[kind])


def page() -> str:
    """Return the text of the page."""
    errors = Module(PACKAGE / "errors.py")
    tree = re.search(r"^    StoreError\n(    .*\n)+", ast.get_docstring(errors.tree, clean=False) or "", re.M)
    lines = [_HEAD.format(command=COMMAND), "```text", *_dedented(tree[0] if tree else ""), "```", ""]
    lines += ["In parentheses is the builtin exception that the class derives from, too."]
    table = rows()
    for kind in error_kinds():
        of_kind = [row for row in table if row.kind == kind]
        if not of_kind:
            lines += ["", f"## {kind}", "", f"The message is the reason of the end. Remedy: {REMEDIES[kind]}."]
            continue
        lines += ["", f"## {kind}", "", "| message | remedy | module |", "|---|---|---|"]
        merged: dict[tuple[str, str], list[str]] = {}
        for row in of_kind:
            merged.setdefault((row.message, row.remedy), []).append(row.module)
        for (message, remedy), names in merged.items():
            shown = _code(remedy) if set(remedy) & set("<*|[") else remedy
            lines.append(f"| {_code(message)} | {shown} | {', '.join(f'`{name}`' for name in dict.fromkeys(names))} |")
    return "\n".join(lines) + "\n"


def _dedented(text: str) -> Iterable[str]:
    return (line.removeprefix("    ") for line in text.rstrip().splitlines())


def _code(text: str) -> str:
    """Return a text as code in a cell of a Markdown table."""
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
