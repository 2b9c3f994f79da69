import shutil
import sys
import zipfile

import pytest
import torch
from cases import SHARED

from landscape.data import build_data
from landscape.data.tu_dataset import tu_dataset
from landscape.errors import DataError, InputError

# Three graphs: a triangle, an edge, a node on its own; kinds of nodes 0 to 2, classes -1 and 1.
FILES = {
    "A": "1, 2\n2, 1\n2, 3\n3, 2\n3, 1\n1, 3\n4, 5\n5, 4\n",
    "graph_indicator": "1\n1\n1\n2\n2\n3\n",
    "graph_labels": "1\n-1\n1\n",
    "node_labels": "0\n1\n2\n1\n1\n0\n",
    "edge_labels": "0\n0\n1\n1\n0\n0\n1\n1\n",
}
GEOMETRIC = "the extra graphs is not installed"


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def write(root, **changed):
    (root / "MUTAG").mkdir(exist_ok=True)
    for part, content in {**FILES, **changed}.items():
        (root / "MUTAG" / f"MUTAG_{part}.txt").write_text(content)


def read(root):
    """All graphs, in the order of their number of nodes."""
    pytest.importorskip("torch_geometric", reason=GEOMETRIC)
    train, test = tu_dataset("mutag", data_dir=str(root))
    return sorted([*train, *test], key=lambda graph: -graph.num_nodes)


def zipped(root):
    with zipfile.ZipFile(root / "MUTAG.zip", "w") as archive:
        for path in (root / "MUTAG").iterdir():
            archive.write(path, f"MUTAG/{path.name}")
    shutil.rmtree(root / "MUTAG")
    return root


def test_edges_count_the_nodes_of_their_own_graph_from_zero(folder):
    edges = [sorted(map(tuple, graph.edge_index.T.tolist())) for graph in read(folder)]
    assert edges == [[(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)], [(0, 1), (1, 0)], []]


def test_kinds_of_nodes_are_one_hot_features(folder):
    expected = [torch.eye(3), torch.eye(3)[[1, 1]], torch.eye(3)[[0]]]
    assert all(torch.equal(graph.x, x) for graph, x in zip(read(folder), expected, strict=True))


def test_classes_are_numbered_from_zero(folder):
    assert [graph.y.tolist() for graph in read(folder)] == [[1], [0], [1]]


@pytest.mark.parametrize("place", [lambda root: root, lambda root: root / "MUTAG", zipped])
def test_folder_its_parent_and_archive_hold_the_same_graphs(place, folder):
    expected = read(folder)
    for graph, other in zip(read(place(folder)), expected, strict=True):
        assert all(
            torch.equal(graph[key], other[key]) for key in ("x", "edge_index", "edge_attr", "y")
        )


def test_last_line_counts_without_a_newline(folder):
    write(folder, **{part: content.rstrip() for part, content in FILES.items()})
    assert [graph.num_edges for graph in read(folder)] == [6, 2, 0]


def test_graphs_without_kinds_of_edges_have_no_edge_features(folder):
    (folder / "MUTAG" / "MUTAG_edge_labels.txt").unlink()
    assert all(graph.edge_attr is None for graph in read(folder))


@pytest.mark.parametrize(
    ("part", "content", "line", "reason"),
    [
        ("node_labels", "0\n1\n2\n1\n1\n", 6, "must have 6 lines, got 5"),
        ("node_labels", FILES["node_labels"] + "0\n", 7, "must have 6 lines, got 7"),
        ("node_labels", "0\n1\nnan\n1\n1\n0\n", 3, "must be the kind of a node.*, got 'nan'"),
        ("node_labels", "0\n1\n2.5\n1\n1\n0\n", 3, "must be the kind of a node.*, got '2.5'"),
        ("node_labels", "0\n1\n2000000000\n1\n1\n0\n", 3, "at most three digits"),
        ("node_labels", "0\n1\n2, 1\n1\n1\n0\n", 3, "as many numbers as the lines above, 1"),
        ("node_labels", "0\n\n1\n2\n1\n1\n0\n", 2, "got ''"),
        ("graph_labels", "1\n-1\n", 3, "must have 3 lines, got 2"),
        ("graph_labels", "1\nno\n1\n", 2, "must be a class number.*, got 'no'"),
        ("graph_labels", "", 1, "got ''"),
        ("A", FILES["A"].replace("4, 5", "3, 5"), 7, "an edge leads out of its graph, from 1 to 2"),
        ("A", FILES["A"].replace("4, 5", "4, 99"), 7, r"nodes must be from 1 to 6, got \[4, 99\]"),
        ("A", FILES["A"].replace("4, 5", "0, 5"), 7, r"nodes must be from 1 to 6, got \[0, 5\]"),
        ("A", FILES["A"].replace("4, 5", "4"), 7, "must be two numbers of nodes, got '4'"),
        ("A", "one, two\n", 1, "must be two numbers of nodes, got 'one, two'"),
        ("graph_indicator", "", 1, "must be the number of a graph, got ''"),
        ("graph_indicator", "1\n1\n2\n1\n1\n3\n", 4, "numbered from 1, one after another, got 1"),
        ("graph_indicator", "1\n1\n1\n3\n3\n4\n", 4, "numbered from 1, one after another, got 3"),
        ("graph_indicator", "0\n0\n0\n1\n1\n2\n", 1, "numbered from 1, one after another, got 0"),
        ("edge_labels", "0\n1\n", 3, "must have 8 lines, got 2"),
    ],
)
@pytest.mark.parametrize("place", [lambda root: root, zipped], ids=["folder", "archive"])
def test_damaged_line_is_refused_by_file_and_number_with_where_to_get_it(
    part, content, line, reason, place, folder
):
    write(folder, **{part: content})
    expected = rf"MUTAG_{part}\.txt.*, line {line}: .*{reason}"
    expected += r".*landscape data fetch mutag.*chrsmrrs\.github\.io"
    with pytest.raises(DataError, match=expected):
        read(place(folder))


def test_graphs_are_those_that_pytorch_geometrics_own_reader_makes(folder):
    write(
        folder, A="1, 2\n2, 1\n3, 2\n2, 3\n3, 1\n1, 3\n4, 5\n4, 5\n"
    )  # out of order, one edge twice
    graphs = read(folder)
    from torch_geometric.io import read_tu_data

    joined, slices, _ = read_tu_data(str(folder / "MUTAG"), "MUTAG")
    assert torch.equal(torch.cat([graph.edge_index for graph in graphs], dim=1), joined.edge_index)
    assert [graph.num_nodes for graph in graphs] == slices["x"].diff().tolist()
    for key in ("x", "edge_attr", "y"):
        assert torch.equal(torch.cat([graph[key] for graph in graphs]), joined[key])


def test_missing_file_is_named(folder):
    (folder / "MUTAG" / "MUTAG_node_labels.txt").unlink()
    with pytest.raises(DataError, match=r"MUTAG lacks MUTAG_node_labels\.txt\."):
        read(folder)


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_damaged_archive_is_refused_by_name(content, tmp_path):
    (tmp_path / "MUTAG.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"MUTAG\.zip cannot be read"):
        read(tmp_path)


def test_archive_writes_nothing_outside(folder):
    with zipfile.ZipFile(folder / "MUTAG.zip", "w") as archive:
        archive.writestr("../MUTAG/../MUTAG_evil.txt", "1\n")
    shutil.rmtree(folder / "MUTAG")
    with pytest.raises(DataError, match=r"must contain MUTAG_A\.txt, MUTAG_graph_indicator"):
        read(folder)
    assert [path.name for path in folder.iterdir()] == ["MUTAG.zip"]


@pytest.mark.parametrize("data_dir", [None, "nowhere"])
@pytest.mark.parametrize("name", ["mutag", "mutagenicity"])
def test_missing_data_are_refused_with_where_to_get_them(name, data_dir, tmp_path):
    with pytest.raises(
        DataError,
        match=rf"landscape data fetch {name}, or.*\.zip from https://chrsmrrs.*`data_dir`",
    ):
        build_data(name, data_dir=data_dir and str(tmp_path / data_dir))


def test_missing_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric.io", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(
        InputError, match=r"PyTorch Geometric.*pip install 'landscape-toolkit\[graphs\]'"
    ):
        tu_dataset("mutag", data_dir=str(folder))


@pytest.fixture(scope="module")
def published():
    pytest.importorskip("torch_geometric", reason=GEOMETRIC)
    if not (SHARED / "data" / "Mutagenicity.zip").is_file():
        pytest.skip("Mutagenicity.zip is not here")
    return tu_dataset("mutagenicity", data_dir=str(SHARED / "data"))


def test_mutagenicity_has_its_published_numbers(published):
    graphs = [*published[0], *published[1]]
    assert torch.cat([graph.y for graph in graphs]).bincount().tolist() == [2401, 1936]
    assert sum(graph.num_nodes for graph in graphs) == 131_488
    assert sum(graph.num_edges for graph in graphs) == 266_894
    assert {(graph.num_node_features, graph.num_edge_features) for graph in graphs} == {(14, 3)}


def test_split_is_of_70_and_30_percent_and_always_the_same(published):
    assert [len(split) for split in published] == [3035, 1302]
    again = tu_dataset("mutagenicity", data_dir=str(SHARED / "data"))[1]
    assert all(
        torch.equal(graph.x, other.x) for graph, other in zip(published[1], again, strict=True)
    )


@pytest.mark.skipif(not (SHARED / "data" / "MUTAG.zip").is_file(), reason="MUTAG.zip is not here")
def test_mutag_has_its_published_numbers():
    graphs = read(SHARED / "data")
    assert torch.cat([graph.y for graph in graphs]).bincount().tolist() == [63, 125]
    assert {graph.num_node_features for graph in graphs} == {7}
