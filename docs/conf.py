"""Configuration of the documentation site. `./scripts/docs` builds it.

The site shows the pages that GitHub shows, so the pages are plain Markdown. The functions below adapt them while Sphinx
reads them: they insert pages from outside of this directory, write the pages of the API, and rewrite links. A build
executes the notebooks, which have no outputs in the repository. A cell that fails ends the build.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
import zlib
from itertools import pairwise
from logging import WARNING, getLogger
from os.path import relpath
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from noether.data.zarr_store import __version__

logger = logging.getLogger(__name__)
DOCS = Path(__file__).parent
API = DOCS / "reference" / "generated"

project = "noether-zarr-store"
version = release = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    # The source is a page of the site, or a page of the repository if its address is known.
    "sphinx.ext.linkcode" if os.environ.get("PROJECT_URL") else "sphinx.ext.viewcode",
]
exclude_patterns = ["images", "**/.ipynb_checkpoints"]
nitpicky = True
# References to supported names, and to the classes of `other_libraries.toml`, must resolve. Annotations also name
# internal classes, and the validators of pydantic.
nitpick_ignore_regex = [
    ("py:class", r"(annotated_types|pydantic)\..+"),
    ("py:class", r"noether\.data\.zarr_store\..+"),
    ("py:class", r"\w+"),
]
highlight_language = "none"  # of code blocks that name no language
default_role = "obj"  # docstrings have names of parameters and of functions in single backticks
# Errors of the JSON lexer: some examples leave parts out with "…".
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "noether-zarr-store"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

myst_heading_anchors = 6

nb_execution_mode = "force"
nb_execution_in_temp = True  # a reader starts in an empty directory, too
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300  # seconds for a cell
nb_merge_streams = True
nb_output_stderr = "remove"  # commands write into a terminal, so their errors are in the other stream

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Annotations that would otherwise be long unions.
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "DTypeLike": "DTypeLike", "ResultDtype": "ResultDtype"}
python_maximum_signature_line_length = 90
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True


# --- Other libraries --------------------------------------------------------------------------------------------------

INVENTORIES: dict[str, dict[str, str]] = {}
intersphinx_mapping = {}
for _library, _content in tomllib.loads((DOCS / "other_libraries.toml").read_text(encoding="utf-8")).items():
    INVENTORIES[_library] = _content["names"]
    _path = DOCS.parent / "build" / "inventories" / f"{_library}.inv"
    _path.parent.mkdir(parents=True, exist_ok=True)
    # The format of Sphinx: four lines, then a compressed line for each name.
    _head = f"# Sphinx inventory version 2\n# Project: {_library}\n# Version: \n# The rest is compressed by zlib.\n"
    _lines = "".join(f"{name} py:class 1 {page} -\n" for name, page in _content["names"].items())
    _path.write_bytes(_head.encode() + zlib.compress(_lines.encode()))
    intersphinx_mapping[_library] = (_content["url"], str(_path))


# --- Pages ------------------------------------------------------------------------------------------------------------

INSERTED = re.compile(r"<!-- page: (\S+) -->")
LINK = re.compile(r"\[([^\[\]]*)\]\((?!https?:|mailto:)([^)\s]+)\)")  # to a file or an anchor
NAMED_HEADING = re.compile(r'^<a id="([\w-]+)"></a>\n+#+ (.+)$', flags=re.MULTILINE)


def _pages() -> dict[Path, str]:
    """Return the page of the site for each Markdown file of the repository."""
    pages = {}
    for page in [*DOCS.glob("*.md"), *DOCS.glob("reference/*.md"), *DOCS.glob("tutorials/*.md")]:
        inserted = INSERTED.search(page.read_text(encoding="utf-8"))
        shown = (page.parent / inserted[1]).resolve() if inserted else page
        pages[shown] = page.relative_to(DOCS).as_posix()
    return pages


PAGES = _pages()


def _anchors(page: Path) -> dict[str, str]:
    """Return the anchor that MyST makes of a heading, by the name that the page gives the heading in HTML."""
    named = NAMED_HEADING.findall(page.read_text(encoding="utf-8"))
    return {name: re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for name, heading in named}


def adapt_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Insert the file that a page names, insert the commands, and rewrite links for the place in the site."""
    notebook = DOCS / f"{docname}.ipynb"
    if notebook.exists():
        source[0] = _adapted_notebook(notebook, source[0])
        return
    shown = page = DOCS / f"{docname}.md"
    if not page.exists():
        return
    if inserted := INSERTED.search(source[0]):
        shown = (page.parent / inserted[1]).resolve()
        app.env.note_dependency(str(shown))
        source[0] = shown.read_text(encoding="utf-8")
    for marker, generated in (("<!-- commands -->", _commands), ("<!-- modules -->", _list_of_modules)):
        if marker in source[0]:
            source[0] = source[0].replace(marker, generated())
    source[0] = _with_links_of_site(source[0], shown, page)


def _with_links_of_site(text: str, shown: Path, page: Path) -> str:
    """Rewrite the links in the text of the file `shown`, which the site shows at the place of `page`."""

    def rewritten(match: re.Match[str]) -> str:
        path, _, anchor = match[2].partition("#")
        target = (shown.parent / path).resolve() if path else shown
        if not target.exists():
            return match[0]
        place = DOCS / PAGES[target] if target in PAGES else target
        if target.suffix == ".md" and anchor:
            anchor = _anchors(target).get(anchor, anchor)
        if place == target and target.suffix == ".md" and DOCS not in target.parents:
            return match[1]  # the site does not have this page
        link = relpath(place, page.parent) if path else ""
        return f"[{match[1]}]({link}{'#' if anchor else ''}{anchor})"

    return LINK.sub(rewritten, text)


def generated_pages(*_: Any) -> list[str]:
    """Return the pages that a build reads again although their files did not change."""
    return ["reference/cli", "reference/python"]


# --- Notebooks --------------------------------------------------------------------------------------------------------

# The directory in which a notebook runs.
RUN_DIRECTORY = re.compile(re.escape(tempfile.gettempdir() + os.sep) + r"tmp\w+" + re.escape(os.sep))


def prepare_kernels(_app: Sphinx) -> None:
    """Let notebooks find the commands of this environment, and run them in a profile of IPython of this build."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # A package of the theme sends messages of all libraries to stderr, such as one for each kernel.
    getLogger("traitlets").setLevel(WARNING)
    os.environ["XDG_CACHE_HOME"] = str(DOCS.parent / "build" / "docs" / "cache")
    os.environ["IPYTHONDIR"] = str(DOCS.parent / "build" / "docs" / "ipython")
    profile = Path(os.environ["IPYTHONDIR"]) / "profile_default"
    (profile / "startup").mkdir(parents=True, exist_ok=True)
    shutil.copy(DOCS / "notebook_commands.py", profile / "startup")
    # Without the warning that messages to and from the kernel are not encrypted.
    config = 'get_config().IPKernelApp.log_level = "ERROR"\n'
    (profile / "ipython_kernel_config.py").write_text(config, encoding="utf-8")


def _adapted_notebook(notebook: Path, text: str) -> str:
    """Rewrite the links in the Markdown of a notebook, and add a link to the file below its title."""
    content = json.loads(text)
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _with_links_of_site("".join(cell["source"]), notebook, notebook)
    first = content["cells"][0]
    title, _, rest = first["source"].partition("\n")
    first["source"] = f"{title}\n\n{{download}}`Download this notebook <{notebook.name}>`\n{rest}"
    return json.dumps(content)


class NotebookPaths(SphinxTransform):
    """Make paths in the outputs of a notebook relative to its directory, which has another name in each build."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Change the outputs of a notebook."""
        if not (DOCS / f"{self.env.docname}.ipynb").exists():
            return
        for block in [*self.document.findall(nodes.literal_block), *self.document.findall(nodes.raw)]:
            block.rawsource = RUN_DIRECTORY.sub("", block.astext())
            block.children = []
            block += nodes.Text(block.rawsource)


# --- Flowcharts -------------------------------------------------------------------------------------------------------


class Flowcharts(SphinxTransform):
    """Show a Mermaid flowchart that is a chain as a list of boxes, so that pages need no script from a server."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Replace the flowcharts of a page."""
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language") != "mermaid":
                continue
            labels = re.findall(r'\w+\["(.*?)"\]', block.astext())
            arrows = re.findall(r"(\w+)(?:\[.*?\])? --> (\w+)", block.astext())
            if len(arrows) != len(labels) - 1 or any(one[1] != two[0] for one, two in pairwise(arrows)):
                logger.warning("expected a flowchart that is a chain", location=block)
            chain = nodes.bullet_list(classes=["flowchart"])
            for label in labels:
                box = nodes.line_block()
                box += [nodes.line(text=line) for line in label.split("<br>")]
                chain += nodes.list_item("", box)
            block.replace_self(chain)


# --- The command line -------------------------------------------------------------------------------------------------


def _commands() -> str:
    """Return a section for each command, with the help that the command prints."""
    import typer

    from noether.data.zarr_store.cli.app import COMMANDS, app, load_command

    sections = [_help(typer, typer.main.get_command(app), "noether-zarr", "##")]
    for name in COMMANDS:
        command = load_command(name)
        sections.append(_help(typer, command, f"noether-zarr {name}", "##"))
        for subname, subcommand in getattr(command, "commands", {}).items():
            sections.append(_help(typer, subcommand, f"noether-zarr {name} {subname}", "###"))
    return "\n".join(sections)


def _help(typer: Any, command: Any, name: str, level: str) -> str:
    context = typer.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    return f"{level} {name}\n\n```text\n{command.get_help(context)}\n```\n"


# --- The API ----------------------------------------------------------------------------------------------------------


def _supported_names() -> dict[str, dict[str, str]]:
    """Return the names that `api.md` lists, with their meanings, by module."""
    sections = re.split(r"^## ", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        section.partition("`")[2].partition("`")[0]: dict(re.findall(r"^\| `(\w+)` \| (\S.*) \|$", section, flags=re.M))
        for section in sections
    }


SUPPORTED = _supported_names()
PACKAGE = "noether.data.zarr_store"
PUBLIC = {name: f"{module}.{name}" for module, names in SUPPORTED.items() if module != PACKAGE for name in names}
# Supported names in the sections of docstrings become links; see `link_supported_names`.
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"


def link_supported_names(_app: Sphinx, config: Any) -> None:
    """Replace the links of numpydoc, some of which lead to names that no inventory has."""
    others = {name.rpartition(".")[2]: name for names in INVENTORIES.values() for name in names if "." in name}
    config.numpydoc_xref_aliases_complete = others | PUBLIC


def write_api_pages(_app: Sphinx) -> None:
    """Write a page for each supported module."""
    shutil.rmtree(API, ignore_errors=True)
    API.mkdir(parents=True)
    for name, names in SUPPORTED.items():
        (API / f"{name}.rst").write_text("\n".join(_api_page(name, names)), encoding="utf-8")


def _list_of_modules() -> str:
    links = []
    toctree = ["```{toctree}", ":hidden:", ""]
    for name in SUPPORTED:
        first_line = (importlib.import_module(name).__doc__ or "").partition("\n")[0]
        links.append(f"- [{name}](generated/{name}.rst): {first_line}")
        toctree.append(f"{re.sub(r'^noether.data.(zarr_store.)?', '', name)} <generated/{name}>")
    return "\n".join([*links, "", *toctree, "```"])


def _api_page(name: str, names: dict[str, str]) -> list[str]:
    module = importlib.import_module(name)
    lines = [name, "=" * len(name), "", ".. highlight:: python", "", f".. automodule:: {name}"]
    lines += ["   :no-members:", ""]
    lines += [".. list-table::", ""]
    for one, meaning in names.items():
        lines += [f"   * - :obj:`~{PUBLIC.get(one, f'{name}.{one}')}`", f"     - {_rst(meaning)}"]
    for one in names:
        value = getattr(module, one)
        if name == PACKAGE and one in PUBLIC:
            continue
        if isinstance(value, type) and value is not dict:
            lines += ["", f".. autoclass:: {one}", "   :members:", "   :exclude-members: model_config"]
        elif callable(value) and hasattr(value, "__code__"):
            lines += ["", f".. autofunction:: {one}"]
        else:
            lines += ["", f".. py:data:: {one}", "", f"   {_rst(names[one])}."]
    return [*lines, ""]


def shorten_signature(*arguments: Any) -> tuple[str | None, str | None]:
    """Show aliases of types by name, and the parameters of a model of pydantic without its validators.

    Sphinx splits a signature into lines, and makes links in it, only if it is valid Python.
    """
    _app, _what, _name, described, _options, signature, returned = arguments
    if signature and "pydantic." in signature:
        parameters = inspect.signature(described).parameters.values()
        bare = [one.replace(annotation=one.empty) for one in parameters if one.kind is not one.VAR_KEYWORD]
        return _shortened(str(inspect.Signature(bare))), returned
    return _shortened(signature), _shortened(returned)


def _shortened(annotations: str | None) -> str | None:
    if not annotations:
        return annotations
    # Sphinx shows a class of its own for an alias that is a part of another type.
    annotations = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", annotations)
    annotations = re.sub(
        r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[([^\[\]]+)\]\]", r"NDArray[\1]", annotations
    )
    return annotations.replace("<factory>", "...")  # defaults of dataclasses


def _rst(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"``\1``", text)


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return the address of the source of a name in the repository, or None if Python does not know its lines."""
    found: Any = importlib.import_module(info["module"]) if domain == "py" and info["module"] else None
    for name in info["fullname"].split("."):
        found = getattr(found, name, None)
    try:
        path = Path(inspect.getsourcefile(inspect.unwrap(found)) or "")
        lines, first = inspect.getsourcelines(found)
    except (OSError, TypeError):
        return None
    if DOCS.parent not in path.parents:
        return None
    address = f"{os.environ['PROJECT_URL']}/blob/{os.environ.get('GITHUB_SHA', 'main')}"
    return f"{address}/{path.relative_to(DOCS.parent)}#L{first}-L{first + len(lines) - 1}"


def resolve_name(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Resolve a reference to a supported name by any path; show every other unknown name as code."""
    if node.get("refdomain") != "py":
        return None
    name = node.get("reftarget", "").rpartition(".")[2]
    if name in PUBLIC:
        domain = env.get_domain("py")
        found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", PUBLIC[name], node, content)
        if found is not None:
            return found
    return content if node.get("reftype") == "obj" else None


def setup(app: Sphinx) -> None:
    """Connect the functions of this file."""
    app.connect("config-inited", link_supported_names, priority=900)
    app.connect("builder-inited", write_api_pages)
    app.connect("builder-inited", prepare_kernels)
    app.connect("env-get-outdated", generated_pages)
    app.connect("source-read", adapt_page)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("missing-reference", resolve_name)
    app.add_transform(Flowcharts)
    app.add_transform(NotebookPaths)
