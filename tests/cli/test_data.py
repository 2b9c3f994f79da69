import gzip
import json

import pytest
from published import MUTAG, publish_fashion_mnist, publish_mutag, serving

from landscape.data import DATASETS
from landscape.data.publications import PUBLICATIONS

CIFAR10 = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        for publish in (publish_fashion_mnist, publish_mutag):
            publication = publish(server)
            monkeypatch.setitem(PUBLICATIONS, publication.name, publication)
        yield server


def listed(run, folder):
    return {
        item["name"]: item
        for item in run("data", "list", "--data-dir", folder, "--json").json["data"]
    }


def test_every_built_in_data_set_is_described():
    assert list(PUBLICATIONS) == list(DATASETS)


def test_an_empty_folder_lacks_all_that_is_not_embedded(run, tmp_path):
    found = listed(run, tmp_path)
    assert found["digits"]["state"] == "embedded"
    assert found["cifar10"]["state"] == "missing"
    assert found["cifar10"]["missing"] == ["cifar-10-python.tar.gz"]
    assert found["mitbih"]["missing"] == ["mitbih_train.csv", "mitbih_test.csv"]
    assert found["mitbih"]["page"].startswith("https://www.kaggle.com/")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cifar10", ["cifar-10-python.tar.gz"]),
        ("cifar10", [f"cifar-10-batches-py/{name}" for name in CIFAR10]),
        ("cifar10", CIFAR10),
        ("cifar100", ["cifar-100-python/train", "cifar-100-python/test"]),
        ("mutag", ["MUTAG.zip"]),
        ("mutag", [f"MUTAG/MUTAG_{part}.txt" for part in MUTAG]),
        ("mitbih", ["mitbih_train.csv.gz", "mitbih_test_sample500.csv"]),
    ],
)
def test_files_are_found_in_every_form_that_the_reader_accepts(run, tmp_path, name, files):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    found = listed(run, tmp_path)[name]
    assert (found["state"], found["folder"], found["missing"]) == ("found", str(tmp_path), [])


def test_the_half_of_the_files_that_is_missing_is_named(run, tmp_path):
    (tmp_path / "mitbih_train.csv").write_text("")
    assert listed(run, tmp_path)["mitbih"]["missing"] == ["mitbih_test.csv"]


def test_files_that_could_both_be_meant_are_named(run, tmp_path):
    for name in ("mitbih_train.csv", "mitbih_test_a.csv", "mitbih_test_b.csv"):
        (tmp_path / name).write_text("")
    found = listed(run, tmp_path)["mitbih"]
    assert found["state"] == "unclear"
    assert "mitbih_test_a.csv, mitbih_test_b.csv" in found["remark"]


def test_the_list_for_people_names_file_and_page(run, tmp_path):
    answer = run("data", "list", "--data-dir", tmp_path)
    assert "cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html" in answer.out
    assert str(tmp_path) in answer.out


def test_fetched_data_are_found_and_read(run, server, tmp_path):
    folder = tmp_path / "data"
    answer = run("data", "fetch", "fashion-mnist", "--data-dir", folder)
    assert answer.code == 0, answer.err
    assert f"--data fashion-mnist --data-dir {folder}" in answer.out
    assert listed(run, folder)["fashion-mnist"]["folder"] == str(folder)
    arguments = (
        "--data",
        "fashion-mnist",
        "--data-dir",
        folder,
        "--model-arg",
        "in_features=784",
        "--epochs",
        1,
    )
    trained = run("train", *arguments, "--out", tmp_path / "run")
    assert trained.code == 0, trained.err


def test_the_folder_is_data_by_default(run, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Ready in data." in run("data", "fetch", "mutag").out
    assert (tmp_path / "data" / "MUTAG.zip").is_file()


def test_json_names_each_file_and_whether_it_is_new(run, server, tmp_path):
    for is_new in (True, False):
        answer = run("data", "fetch", "mutag", "--data-dir", tmp_path, "--json")
        files = [{"path": str(tmp_path / "MUTAG.zip"), "is_new": is_new}]
        assert answer.json == {"name": "mutag", "data_dir": str(tmp_path), "files": files}


def test_what_is_there_already_is_said(run, server, tmp_path):
    assert "Downloaded and checked" in run("data", "fetch", "mutag", "--data-dir", tmp_path).err
    assert "There already" in run("data", "fetch", "mutag", "--data-dir", tmp_path).err
    assert server.asked == ["/MUTAG.zip"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mutag", "the server answers 404"),
        ("mitbih", "only be downloaded after a login"),
        ("svhn", "data must be one of digits, cifar10"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(run, server, tmp_path, name, message):
    server.files.clear()
    answer = run("data", "fetch", name, "--data-dir", tmp_path / "data")
    assert answer.code == 1
    assert answer.out == ""
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_embedded_data_need_no_download(run, tmp_path):
    answer = run("data", "fetch", "digits", "--data-dir", tmp_path / "data")
    assert answer.code == 0
    assert "nothing to download" in answer.out


def test_json_is_all_that_stdout_holds(run, tmp_path):
    json.loads(run("data", "list", "--data-dir", tmp_path, "--json").out)


def test_a_part_of_a_table_is_counted(run, tmp_path):
    (tmp_path / "mitbih_train_sample500.csv").write_text("0,1\n" * 500)
    with gzip.open(tmp_path / "mitbih_test.csv.gz", "wt") as file:
        file.write("0,1\n" * 21 + "1,0")
    assert listed(run, tmp_path)["mitbih"]["num_rows"] == 522
    answer = run("data", "list", "--data-dir", tmp_path)
    assert "522 of the 109,446 heartbeats of 187 samples, 5 classes" in answer.out


def test_a_damaged_table_is_listed_as_published(run, tmp_path):
    (tmp_path / "mitbih_train.csv.gz").write_bytes(b"no archive")
    (tmp_path / "mitbih_test.csv").write_text("0,1\n")
    found = listed(run, tmp_path)["mitbih"]
    assert (found["state"], found["num_rows"]) == ("found", None)
