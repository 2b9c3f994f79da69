from pathlib import Path

import pytest

from landscape.data import DATASETS, build_data, data_arguments, needs_folder
from landscape.errors import InputError

IMAGES = ["digits", "cifar10", "cifar100", "fashion-mnist"]


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"digits, cifar10, cifar100, fashion-mnist.*got 'svhn'"):
        build_data("svhn")


def test_unknown_argument_is_refused_with_the_accepted_ones():
    with pytest.raises(InputError, match=r"'flat'.*It accepts normalization: str = 'digits'"):
        build_data("digits", flat=True)


@pytest.mark.parametrize("name", IMAGES)
def test_normalization_is_recorded_even_where_it_is_the_default(name):
    assert data_arguments(name)["normalization"]


@pytest.mark.parametrize("name", IMAGES)
def test_unknown_normalization_is_refused(name):
    with pytest.raises(InputError, match=r"normalization must be one of .*none, got 'unit'"):
        build_data(name, normalization="unit")


def test_path_is_recorded_as_a_string():
    assert data_arguments("cifar10", data_dir=Path("some/where"))["data_dir"] == "some/where"


@pytest.mark.parametrize("name", DATASETS)
def test_only_data_sets_from_files_need_a_folder(name):
    assert needs_folder(name) is (name != "digits")
