"""A damaged data file is one sentence that names the file and, where it has any, the row or
line."""

import gzip

import numpy as np
import pytest
from published import MUTAG, idx

BEAT = ",".join(["0.5"] * 187)


def mitbih(folder):
    for split in ("train", "test"):
        (folder / f"mitbih_{split}.csv").write_text(f"{BEAT},0\n{BEAT},1\n")


def mutag(folder):
    (folder / "MUTAG").mkdir()
    for part, text in MUTAG.items():
        (folder / "MUTAG" / f"MUTAG_{part}.txt").write_text(text)


def fashion_mnist(folder):
    for prefix in ("train", "t10k"):
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(
            idx(np.zeros((3, 28, 28), np.uint8))
        )
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(3, np.uint8)))


def cifar10(folder):
    (folder / "cifar-10-batches-py").mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / "cifar-10-batches-py" / name).write_bytes(b"")


CASES = {
    "a word": (
        mitbih,
        "mitbih_train.csv",
        f"{BEAT},0\n{BEAT[:-3]}low,1\n",
        "mitbih_train.csv, row 2: column 187",
    ),
    "a missing column": (
        mitbih,
        "mitbih_train.csv",
        f"{BEAT},0\n{BEAT}\n",
        "mitbih_train.csv, row 2: a heartbeat has",
    ),
    "another class": (
        mitbih,
        "mitbih_test.csv",
        f"{BEAT},0\n{BEAT},7\n",
        "mitbih_test.csv, row 2: the label must be",
    ),
    "no number": (
        mitbih,
        "mitbih_test.csv",
        f"{BEAT},nan\n",
        "mitbih_test.csv, row 1: column 188 must be finite",
    ),
    "a node too many": (
        mutag,
        "MUTAG/MUTAG_node_labels.txt",
        "0\n" * 7,
        "node_labels.txt, line 7: the file must",
    ),
    "an edge too far": (
        mutag,
        "MUTAG/MUTAG_A.txt",
        "1, 2\n1, 5\n",
        "MUTAG_A.txt, line 2: an edge leads out",
    ),
    "half an archive": (
        fashion_mnist,
        "train-images-idx3-ubyte.gz",
        gzip.compress(b"x" * 99)[:-9],
        "train-images-idx3-ubyte.gz cannot",
    ),
    "other labels": (
        fashion_mnist,
        "t10k-labels-idx1-ubyte.gz",
        idx(np.full(3, 11, np.uint8)),
        "idx1-ubyte.gz must hold labels",
    ),
    "a batch of CIFAR": (
        cifar10,
        "cifar-10-batches-py/data_batch_1",
        b"half",
        "data_batch_1 must have the md5 sum",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_named_by_file_and_place(run, tmp_path, case):
    write, name, content, message = CASES[case]
    write(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    data = write.__name__.replace("_", "-")
    answer = run("train", "--data", data, "--data-dir", tmp_path, "--out", tmp_path / "run")
    assert answer.code == 1
    assert answer.out == ""
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
