"""The rows of the architecture: a module imports only from rows below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROWS = {
    0: [
        "curvature_results",
        "sharpness_results",
        "errors",
        "progress",
        "sink",
        "random_state",
        "reductions",
        "second_derivatives",
    ],
    1: [
        "files",
        "deadline",
        "weights",
        "batches",
        "results",
        "distributed",
        "execution",
        "batchnorm",
        "forward",
        "memory_format",
        "registry",
        "order",
        "point_stack",
        "spectral_density",
        "standard_error",
        "sample",
        "free_memory",
        "curvature_graphs",
    ],
    2: [
        "work_queue",
        "refinement",
        "directions",
        "stored_directions",
        "ascent",
        "problem",
        "provenance",
        "models",
        "data",
    ],
    3: ["plane", "rescaling", "hessian", "optim", "trajectory", "topology"],
    4: ["surface", "plane_curvature", "sharpness", "marks", "direction_sources", "auto_range"],
    5: ["training", "plot", "io"],
    6: ["audit", "gate", "doctor", "report"],
    7: ["study"],
}
ROW_OF = {name: row for row, names in ROWS.items() for name in names}
CLI_ROW = 8

FENCES = {
    "typer": ["cli/"],
    "rich": ["cli/console.py"],
    "matplotlib": ["landscape/plot/"],
    "h5py": ["landscape/io/store.py", "landscape/io/li2018.py", "landscape/io/krylov.py"],
    "pyhessian": ["landscape/hessian/pyhessian.py"],
    "filelock": ["landscape/files.py"],
    "jinja2": ["landscape/report/page.py"],
    "plotly": ["landscape/plot/interactive.py"],
    "meshio": ["landscape/io/vtk.py"],
    "pooch": ["landscape/data/download.py"],
    "submitit": ["landscape/study/slurm.py"],
    "sklearn": ["landscape/data/digits.py"],
    "torch_geometric": [
        "landscape/batches.py",
        "landscape/data/tu_dataset.py",
        "landscape/models/gcn.py",
    ],
}
WITHOUT_TORCH = [
    "landscape/results.py",
    "landscape/curvature_results.py",
    "landscape/sharpness_results.py",
    "landscape/sample.py",
    "landscape/spectral_density.py",
    "landscape/topology.py",
    "landscape/audit/report.py",
    "landscape/order.py",
    "landscape/refinement.py",
    "landscape/io/store.py",
    "landscape/io/li2018.py",
    "landscape/plot/",
    "landscape/gate/condition.py",
    "landscape/gate/stored.py",
    "landscape/report/document.py",
    "landscape/report/page.py",
    "landscape/report/tables.py",
]


def _sources():
    return sorted([*(ROOT / "landscape").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])


def _name(path):
    return path.relative_to(ROOT).as_posix()


def _imports(path):
    """Yield every imported module, wherever in the file, except under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (
                f"{node.module}.{node.names[0].name}" if node.module == "landscape" else node.module
            )


def _row(module):
    parts = module.split(".")
    if parts[0] == "landscape_cli":
        return CLI_ROW
    if parts[0] == "landscape" and len(parts) > 1:
        return ROW_OF[parts[1]]
    return None


@pytest.mark.parametrize("path", _sources(), ids=_name)
def test_imports_come_from_rows_below(path):
    if path == ROOT / "landscape" / "__init__.py":
        return
    package, part = path.relative_to(ROOT).parts[:2]
    own_row = CLI_ROW if package == "cli" else ROW_OF[part.removesuffix(".py")]
    own_name = "landscape_cli" if package == "cli" else f"landscape.{part.removesuffix('.py')}"
    for module in _imports(path):
        row = _row(module)
        if row is not None and not module.startswith(own_name):
            assert row < own_row, f"{_name(path)} (row {own_row}) imports {module} (row {row})"


@pytest.mark.parametrize(("library", "allowed"), FENCES.items())
def test_libraries_stay_behind_their_fences(library, allowed):
    users = [
        _name(path)
        for path in _sources()
        if any(m.split(".")[0] == library for m in _imports(path))
    ]
    assert users, f"nobody imports {library}"
    assert [user for user in users if not user.startswith(tuple(allowed))] == []


def test_results_stores_and_plots_do_not_import_torch():
    for path in _sources():
        if _name(path).startswith(tuple(WITHOUT_TORCH)):
            assert not [module for module in _imports(path) if module.split(".")[0] == "torch"], (
                _name(path)
            )


@pytest.mark.parametrize("call", ["torch.load", "torch.save"])
def test_checkpoints_alone_are_read_and_written_by_torch(call):
    users = [
        _name(path)
        for path in _sources()
        if any(
            isinstance(n, ast.Call) and ast.unparse(n.func) == call
            for n in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert users == ["landscape/io/checkpoint.py"]
