"""What passes for an archive or for the folder extracted from it."""

import re

import pytest

from landscape.data import build_data
from landscape.data.publications import PUBLICATIONS
from landscape.errors import DataError

CIFAR100 = PUBLICATIONS["cifar100"]
FOLDER = "cifar-100-python"
ARCHIVE = "cifar-100-python.tar.gz"


def write(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def located(folder):
    (path,) = CIFAR100.locate(str(folder))
    return path


@pytest.mark.parametrize("names", [["train"], ["test"], ["train", "tests"]])
def test_a_file_that_has_the_name_of_one_member_is_not_the_extracted_folder(tmp_path, names):
    write(tmp_path, *names)
    with pytest.raises(DataError, match=f"{tmp_path} holds neither"):
        located(tmp_path)


def test_the_archive_goes_before_files_that_lie_about(tmp_path):
    write(tmp_path, "train", "test", ARCHIVE)
    assert located(tmp_path) == tmp_path / ARCHIVE


def test_the_extracted_folder_goes_before_the_archive(tmp_path):
    write(tmp_path, ARCHIVE)
    write(tmp_path / FOLDER, "train", "test")
    assert located(tmp_path) == tmp_path / FOLDER


@pytest.mark.parametrize("names", [[], ["train"]])
def test_the_archive_stands_in_for_an_extracted_folder_that_is_not_whole(tmp_path, names):
    write(tmp_path, ARCHIVE)
    write(tmp_path / FOLDER, *names)
    assert located(tmp_path) == tmp_path / ARCHIVE


def test_all_members_are_the_extracted_folder_under_any_name(tmp_path):
    write(tmp_path, "train", "test")
    assert located(tmp_path) == tmp_path


@pytest.mark.parametrize("data_dir", [".", FOLDER])
@pytest.mark.parametrize(("names", "lacking"), [([], "train, test"), (["train"], "test")])
def test_what_an_extracted_folder_lacks_is_named(tmp_path, data_dir, names, lacking):
    write(tmp_path / FOLDER, *names)
    with pytest.raises(DataError, match=rf"but {tmp_path}/{FOLDER} lacks {lacking}\. Run"):
        located(tmp_path / data_dir)


def test_an_empty_folder_of_graphs_is_not_found(tmp_path):
    write(tmp_path / "MUTAG")
    assert PUBLICATIONS["mutag"].missing(tmp_path) == ["MUTAG.zip"]


@pytest.mark.parametrize("folder", [".", FOLDER])
def test_nobody_is_told_to_remove_a_folder(tmp_path, folder):
    write(tmp_path / folder, "train", "test")
    with pytest.raises(DataError, match="must have the md5 sum") as caught:
        build_data("cifar100", data_dir=str(tmp_path))
    assert not re.search("[Rr]emove", caught.value.hint)
    assert "with another `data_dir`" in caught.value.hint


def test_a_damaged_archive_is_to_be_removed(tmp_path):
    write(tmp_path, ARCHIVE)
    with pytest.raises(DataError, match="must be a complete") as caught:
        build_data("cifar100", data_dir=str(tmp_path))
    assert caught.value.hint.startswith(
        f"Remove {tmp_path / ARCHIVE} and run landscape data fetch cifar100"
    )
