import gzip

import numpy as np
import pytest
import torch
from cases import SHARED

from landscape.data.mitbih import balanced_rows, mitbih
from landscape.errors import DataError

DATA = SHARED / "data"
TRAIN_LABELS, TEST_LABELS = [0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 4], [0, 3, 4]


def beats(labels):
    """Rows of 187 values and a label, as text, and the values."""
    values = np.random.default_rng(len(labels)).random((len(labels), 187)).astype(np.float32)
    rows = [
        ",".join(f"{v:.18e}" for v in [*row, label])
        for row, label in zip(values, labels, strict=True)
    ]
    return rows, values


def write(path, rows):
    content = "".join(f"{row}\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_both(folder, train="mitbih_train.csv", test="mitbih_test.csv"):
    write(folder / train, beats(TRAIN_LABELS)[0])
    write(folder / test, beats(TEST_LABELS)[0])
    return str(folder)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_values_are_read_exactly_as_series_of_one_feature(suffix, tmp_path):
    (inputs, _), _ = mitbih(
        data_dir=write_both(tmp_path, f"mitbih_train{suffix}", f"mitbih_test{suffix}")
    )
    assert inputs.dtype == torch.float32
    assert np.array_equal(inputs.numpy(), beats(TRAIN_LABELS)[1][:, :, None])


def test_labels_are_read_as_int64(tmp_path):
    (_, train), (_, test) = mitbih(data_dir=write_both(tmp_path))
    assert [train.dtype, test.dtype] == [torch.int64] * 2
    assert [train.tolist(), test.tolist()] == [TRAIN_LABELS, TEST_LABELS]


def test_one_row_is_a_data_set(tmp_path):
    data_dir = write_both(tmp_path)
    write(tmp_path / "mitbih_test.csv", beats([2])[0])
    assert mitbih(data_dir=data_dir)[1][0].shape == (1, 187, 1)


def test_balancing_leaves_as_many_normal_beats_as_the_rarest_other_class_has(tmp_path):
    (_, train), (_, test) = mitbih(data_dir=write_both(tmp_path), balance=True)
    assert [train.bincount().tolist(), test.bincount().tolist()] == [
        [1, 2, 3, 0, 1],
        [1, 0, 0, 1, 1],
    ]


def test_balancing_keeps_whole_rows_in_order(tmp_path):
    data_dir = write_both(tmp_path)
    (inputs, targets), _ = mitbih(data_dir=data_dir, balance=True)
    (everything, _), _ = mitbih(data_dir=data_dir)
    assert torch.equal(inputs[targets != 0], everything[5:])
    assert any(torch.equal(inputs[0], beat) for beat in everything[:5])


def test_balanced_published_files_have_the_size_that_the_seed_paper_states():
    # Class counts of the published files; the paper has 19,659 for it takes the first row for a
    # header.
    published = [72_471, 2_223, 5_788, 641, 6_431], [18_118, 556, 1_448, 162, 1_608]
    assert sum(map(sum, published)) == 109_446
    kept = [len(balanced_rows(np.arange(5).repeat(counts))) for counts in published]
    assert sum(kept) == 19_659 + 1


@pytest.mark.parametrize(
    ("labels", "expected"), [([0, 0], [0, 1]), ([1, 1, 0], [0, 1, 2]), ([], [])]
)
def test_balancing_leaves_what_is_no_majority(labels, expected):
    assert balanced_rows(np.array(labels)).tolist() == expected


def test_balancing_draws_the_same_beats_every_time():
    labels = np.array([0] * 100 + [1] * 10)
    assert np.array_equal(balanced_rows(labels), balanced_rows(labels))


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (["mitbih_test_sample500.csv"], 1),
        (["mitbih_test.csv", "mitbih_test_sample500.csv", "mitbih_test.csv.gz"], 1),
        (["mitbih_test.csv.gz", "mitbih_test_sample500.csv"], 1),
        (
            [
                "mitbih_test_sample500.csv.gz",
                "mitbih_test_class0_head999.csv",
                "mitbih_test_notes.txt",
            ],
            1,
        ),
    ],
)
def test_first_file_by_the_stated_rule_is_read(others, expected, tmp_path):
    write_both(tmp_path)
    (tmp_path / "mitbih_test.csv").unlink()
    for number, name in enumerate(others, start=1):
        write(tmp_path / name, beats([1] * number)[0])
    assert len(mitbih(data_dir=str(tmp_path))[1][1]) == expected


@pytest.mark.parametrize(
    "names",
    [
        ("mitbih_test_a.csv", "mitbih_test_b.csv"),
        ("mitbih_test_sample500.csv", "mitbih_test_sample500.csv.gz"),
    ],
)
def test_files_that_the_rule_does_not_tell_apart_are_named(names, tmp_path):
    write_both(tmp_path)
    (tmp_path / "mitbih_test.csv").unlink()
    for name in names:
        write(tmp_path / name, beats([1])[0])
    with pytest.raises(DataError, match=f"must hold mitbih_test.csv.*got {', '.join(names)}"):
        mitbih(data_dir=str(tmp_path))


@pytest.mark.parametrize("is_given", [True, False])
def test_missing_file_is_refused_with_where_to_get_it(is_given, tmp_path):
    with pytest.raises(
        DataError, match=r"Heartbeat Categorization.*kaggle\.com.*shayanfazeli.*login.*`data_dir`"
    ):
        mitbih(data_dir=str(tmp_path) if is_given else None)


def change(row, column, value):
    fields = row.split(",")
    fields[column] = value
    return ",".join(fields)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda row: row.rpartition(",")[0], "188 columns, got 187"),
        (lambda row: row + ",0.0", "188 columns, got 189"),
        (lambda row: change(row, 4, "abc"), "column 5 must be a number, got 'abc'"),
        (lambda row: change(row, 4, "#"), "column 5 must be a number, got '#'"),
        (lambda row: change(row, 0, "nan"), "column 1 must be finite, got nan"),
        (lambda row: change(row, 7, "inf"), "column 8 must be finite, got inf"),
        (lambda row: change(row, 187, "5.0"), "label must be 0, 1, 2, 3 or 4, got 5"),
        (lambda row: change(row, 187, "-1"), "label must be 0, 1, 2, 3 or 4, got -1"),
        (lambda row: change(row, 187, "0.5"), "label must be 0, 1, 2, 3 or 4, got 0.5"),
    ],
)
@pytest.mark.parametrize("number", [1, 3])
def test_damaged_row_is_refused_by_file_and_number(number, damage, reason, tmp_path):
    data_dir = write_both(tmp_path)
    rows = beats(TEST_LABELS)[0]
    rows[number - 1] = damage(rows[number - 1])
    write(tmp_path / "mitbih_test.csv", rows)
    with pytest.raises(DataError, match=rf"mitbih_test\.csv, row {number}: .*{reason}"):
        mitbih(data_dir=data_dir)


def test_rows_that_all_lack_a_column_are_refused(tmp_path):
    data_dir = write_both(tmp_path)
    write(tmp_path / "mitbih_test.csv", [row.rpartition(",")[0] for row in beats([1, 1])[0]])
    with pytest.raises(DataError, match=r"row 1: .*188 columns, got 187"):
        mitbih(data_dir=data_dir)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b"PK\x03\x04"])
def test_file_without_heartbeats_is_refused_by_name(content, tmp_path):
    data_dir = write_both(tmp_path)
    (tmp_path / "mitbih_test.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"mitbih_test\.csv"):
        mitbih(data_dir=data_dir)


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-20], lambda content: b"no gzip" + content]
)
def test_damaged_gzip_is_refused_by_name(damage, tmp_path):
    data_dir = write_both(tmp_path, "mitbih_train.csv.gz")
    path = tmp_path / "mitbih_train.csv.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"mitbih_train\.csv\.gz cannot be read"):
        mitbih(data_dir=data_dir)


@pytest.mark.skipif(
    not (DATA / "mitbih_train_sample500.csv.gz").is_file(), reason="the heartbeats are not here"
)
def test_part_of_the_published_files_has_a_hundred_beats_a_class():
    splits = mitbih(data_dir=str(DATA))
    assert [targets.bincount().tolist() for _, targets in splits] == [[100] * 5] * 2
    assert all(inputs.min() == 0 and inputs.max() == 1 for inputs, _ in splits)
