"""The rows of the architecture: a module imports only from rows below its folder's."""

import ast
from functools import cache
from pathlib import Path

from benchmarks.structure import circles, imported_modules, module_files

ROOT = Path(__file__).resolve().parents[1]

ROWS = [
    ["errors"],
    ["reductions", "registry"],
    ["results", "runtime"],
    ["ascent", "problem"],
    ["models", "data", "optim", "audit"],
    ["hessian"],
    ["directions", "sharpness"],
    ["io"],
    ["surface", "training", "conditions"],
    ["plot", "doctor"],
    ["report"],
    ["study"],
    ["landscape_cli"],
]
"""From the bottom up; within a row, nobody imports from a neighbour."""

ROW_OF = {folder: row for row, folders in enumerate(ROWS) for folder in folders}

FENCES = {
    "typer": ["cli/"],
    "rich": ["cli/console.py"],
    "matplotlib": ["landscape/plot/"],
    "h5py": [
        "landscape/io/hdf5.py",
        "landscape/io/store.py",
        "landscape/io/li2018.py",
        "landscape/io/krylov_file.py",
    ],
    "pyhessian": ["landscape/hessian/pyhessian.py"],
    "filelock": ["landscape/runtime/files.py"],
    "jinja2": ["landscape/report/page.py"],
    "plotly": ["landscape/plot/interactive.py"],
    "meshio": ["landscape/plot/mesh_files.py"],
    "pooch": ["landscape/data/download.py"],
    "submitit": ["landscape/study/slurm.py"],
    "sklearn": [],  # takes a second to import; its digits are read as a file
    "torch_geometric": [
        "landscape/problem/batches.py",
        "landscape/data/tu_dataset.py",
        "landscape/models/gcn.py",
    ],
}
WITHOUT_TORCH = (
    "landscape/results/",
    "landscape/plot/",
    "landscape/surface/grid.py",
    "landscape/surface/persistence.py",
    "landscape/surface/topology.py",
    "landscape/io/hdf5.py",
    "landscape/io/schema.py",
    "landscape/io/store.py",
    "landscape/io/li2018.py",
    "landscape/conditions/condition.py",
    "landscape/conditions/from_file.py",
    "landscape/report/document.py",
    "landscape/report/page.py",
    "landscape/report/tables.py",
)


@cache
def _files():
    return module_files()


@cache
def _trees():
    return {name: ast.parse(path.read_text()) for name, path in _files().items()}


@cache
def _graph():
    return {
        name: imported_modules(name, _files()[name], tree, _files())
        for name, tree in _trees().items()
    }


def _path(name):
    return _files()[name].relative_to(ROOT).as_posix()


@cache
def _foreign_imports(name):
    """Return the top-level names of what a module imports at run time, wherever in the file."""
    found = set()
    rest = [_trees()[name]]
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
        elif not _is_for_types(node):
            rest.extend(ast.iter_child_nodes(node))
    return found


def _is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _folder(name):
    """Return the room of a module; None for the front page."""
    first, *rest = name.split(".")
    if first == "landscape":
        return rest[0] if rest else None
    return first


def test_every_folder_has_a_row():
    assert {_folder(name) for name in _graph()} - {None} == set(ROW_OF)


def test_imports_come_from_rows_below_even_for_types():
    wrong = [
        f"{_path(name)} (row {ROW_OF[own]}) imports {other} (row {ROW_OF[there]})"
        for name, imported in _graph().items()
        if (own := _folder(name))
        for other in sorted(imported)
        if (there := _folder(other)) not in (None, own) and ROW_OF[there] >= ROW_OF[own]
    ]
    assert wrong == []


def test_no_module_of_the_library_imports_the_front_page():
    users = [
        name
        for name, tree in _trees().items()
        if name.startswith("landscape.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "landscape" and node.level == 0
        if not {f"landscape.{alias.name}" for alias in node.names} <= set(_trees())
    ]
    assert users == []


def test_no_imports_go_in_a_circle():
    inside = {name: others for name, others in _graph().items() if name != "landscape"}
    assert circles({name: others - {"landscape"} for name, others in inside.items()}) == []


def test_libraries_stay_behind_their_fences():
    for library, allowed in FENCES.items():
        users = [_path(name) for name in _trees() if library in _foreign_imports(name)]
        assert users or not allowed, f"nobody imports {library}"
        assert [user for user in users if not user.startswith(tuple(allowed))] == [], library


def test_results_stores_and_plots_do_not_import_torch():
    users = [_path(name) for name in _trees() if "torch" in _foreign_imports(name)]
    assert [user for user in users if user.startswith(WITHOUT_TORCH)] == []


def test_checkpoints_alone_are_read_and_written_by_torch():
    for call in ("load", "save"):
        users = [_path(name) for name, tree in _trees().items() if _calls_torch(tree, call)]
        assert users == ["landscape/io/checkpoint.py"]


def _calls_torch(tree, name):
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == name
        and ast.unparse(node.func.value) == "torch"
        for node in ast.walk(tree)
    )
