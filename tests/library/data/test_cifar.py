import gzip
import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.data.cifar import CIFARS, read_cifar
from landscape.data.cifar import cifar as read_by_name
from landscape.errors import DataError

CIFAR10, CIFAR100 = CIFARS["cifar10"], CIFARS["cifar100"]


def archive_of(cifar):
    return cifar.publication.files[0]


SHARED = Path(__file__).parents[4] / "shared" / "data"
HAS_ARCHIVE = (SHARED / archive_of(CIFAR10).name).is_file()
IMAGES_PER_BATCH = 4


def batch_content(seed, label_key=b"labels", num_labels=IMAGES_PER_BATCH, highest_label=9):
    data = np.random.default_rng(seed).integers(0, 256, (IMAGES_PER_BATCH, 3072), dtype=np.uint8)
    labels = [highest_label - (seed + i) % 5 for i in range(num_labels)]
    return pickle.dumps({b"data": data, label_key: labels}, protocol=3)


def tiny(cifar, contents=None):
    """Return a data set of a few random images in the published format, and its files' contents."""
    contents = contents or {
        name: batch_content(seed, cifar.label_key)
        for seed, name in enumerate([*cifar.train, cifar.test])
    }
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    (archive,) = cifar.publication.files
    publication = replace(cifar.publication, files=(replace(archive, member_md5=md5),))
    return replace(cifar, publication=publication), contents


def write_folder(folder, contents):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def write_archive(path, folder, contents):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"readme.html": b"", **contents}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path):
    """A tiny CIFAR-10, its files' contents, and the folder above the one they are in."""
    cifar, contents = tiny(CIFAR10)
    write_folder(tmp_path / archive_of(cifar).folder, contents)
    return cifar, contents, tmp_path


@pytest.fixture
def archive(tmp_path):
    """A tiny CIFAR-10 and the path of its archive."""
    cifar, contents = tiny(CIFAR10)
    path = tmp_path / archive_of(cifar).name
    write_archive(path, archive_of(cifar).folder, contents)
    return cifar, path


@pytest.mark.parametrize("cifar", [CIFAR10, CIFAR100])
def test_batches_are_joined_in_their_published_order(cifar, tmp_path):
    cifar, contents = tiny(cifar)
    write_folder(tmp_path / archive_of(cifar).folder, contents)
    (inputs, _), _ = read_cifar(cifar, str(tmp_path), "none")
    expected = np.concatenate([pickle.loads(contents[name])[b"data"] for name in cifar.train])
    assert np.array_equal((255 * inputs).round().numpy().reshape(-1, 3072), expected)


def test_labels_stay_with_their_images(folder):
    cifar, contents, data_dir = folder
    (_, targets), _ = read_cifar(cifar, str(data_dir), "none")
    expected = [label for name in cifar.train for label in pickle.loads(contents[name])[b"labels"]]
    assert targets.tolist() == expected


def test_as_many_examples_are_kept_as_asked_for(folder, monkeypatch):
    cifar, _, path = folder
    monkeypatch.setitem(CIFARS, "cifar10", cifar)
    train, test = read_by_name("cifar10", data_dir=path, num_train=5, num_test=2)
    assert ([len(part) for part in train], [len(part) for part in test]) == ([5, 5], [2, 2])


def test_test_batch_is_kept_apart(folder):
    cifar, contents, data_dir = folder
    _, (inputs, _) = read_cifar(cifar, str(data_dir), "none")
    expected = pickle.loads(contents["test_batch"])[b"data"].reshape(-1, 3, 32, 32)
    assert np.array_equal((255 * inputs).round().numpy(), expected)


def test_extracted_folder_itself_is_accepted(folder):
    cifar, _, data_dir = folder
    from_inside = read_cifar(cifar, str(data_dir / archive_of(cifar).folder), "cifar")
    assert torch.equal(from_inside[0][0], read_cifar(cifar, str(data_dir), "cifar")[0][0])


def test_archive_holds_what_its_extracted_folder_holds(archive, tmp_path):
    cifar, path = archive
    write_folder(tmp_path / "extracted", tiny(CIFAR10)[1])
    from_archive = read_cifar(cifar, str(path.parent), "cifar")
    from_folder = read_cifar(cifar, str(tmp_path / "extracted"), "cifar")
    assert all(torch.equal(a[0], b[0]) for a, b in zip(from_archive, from_folder, strict=True))


def test_reading_an_archive_writes_nothing(archive):
    cifar, path = archive
    read_cifar(cifar, str(path.parent), "cifar")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("normalization", "mean", "std"),
    [
        ("cifar", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_normalization_is_the_named_one(folder, normalization, mean, std):
    cifar, _, data_dir = folder
    raw = read_cifar(cifar, str(data_dir), "none")[0][0]
    mean, std = (torch.tensor(s).reshape(3, 1, 1) for s in (mean, std))
    torch.testing.assert_close(
        read_cifar(cifar, str(data_dir), normalization)[0][0], (raw - mean) / std
    )


@pytest.mark.parametrize(
    ("name", "archive_name"),
    [("cifar10", "cifar-10-python.tar.gz"), ("cifar100", "cifar-100-python.tar.gz")],
)
def test_empty_folder_is_refused_with_what_to_download_and_where_to_put_it(
    name, archive_name, tmp_path
):
    pattern = (
        rf"{tmp_path} holds neither.*{archive_name} from https://www.cs.toronto.edu.*`data_dir`"
    )
    with pytest.raises(DataError, match=pattern):
        read_by_name(name, data_dir=str(tmp_path))


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere is not a folder"):
        read_by_name("cifar10", data_dir=str(tmp_path / "nowhere"))


def test_no_folder_is_refused_with_the_option_to_pass():
    with pytest.raises(DataError, match="pass that folder as `data_dir`"):
        read_by_name("cifar10")


def test_damaged_file_is_refused_with_its_path_and_both_sums(folder):
    cifar, contents, data_dir = folder
    damaged = contents["data_batch_3"][:-1] + b"!"
    path = data_dir / archive_of(cifar).folder / "data_batch_3"
    path.write_bytes(damaged)
    found = hashlib.md5(damaged).hexdigest()
    with pytest.raises(
        DataError,
        match=rf"{path} must .*{archive_of(cifar).member_md5['data_batch_3']}, got {found}",
    ):
        read_cifar(cifar, str(data_dir), "cifar")


def test_damaged_file_in_an_archive_is_refused_with_its_name(tmp_path):
    cifar, contents = tiny(CIFAR10)
    write_archive(
        tmp_path / archive_of(cifar).name,
        archive_of(cifar).folder,
        {**contents, "test_batch": contents["data_batch_1"]},
    )
    with pytest.raises(
        DataError, match=rf"test_batch in .*{archive_of(cifar).name} must have the md5 sum"
    ):
        read_cifar(cifar, str(tmp_path), "cifar")


def test_published_sums_refuse_files_that_were_not_published(folder):
    with pytest.raises(DataError, match="c99cafc152244af753f735de768cd75f"):
        read_by_name("cifar10", data_dir=str(folder[2]))


def test_missing_batch_is_refused_by_name(folder):
    cifar, _, data_dir = folder
    (data_dir / archive_of(cifar).folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-py lacks data_batch_4\."):
        read_cifar(cifar, str(data_dir), "cifar")


def test_missing_batch_in_an_archive_is_refused_by_name(tmp_path):
    cifar, contents = tiny(CIFAR10)
    del contents["data_batch_4"]
    write_archive(tmp_path / archive_of(cifar).name, archive_of(cifar).folder, contents)
    with pytest.raises(DataError, match="not found: data_batch_4"):
        read_cifar(cifar, str(tmp_path), "cifar")


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_truncated_archive_is_refused_by_name(archive, keep):
    cifar, path = archive
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataError, match=rf"{archive_of(cifar).name} must be a complete"):
        read_cifar(cifar, str(path.parent), "cifar")


def test_corrupt_archive_is_refused_by_name(archive):
    cifar, path = archive
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=archive_of(cifar).name):
        read_cifar(cifar, str(path.parent), "cifar")


def test_archive_that_is_no_tar_is_refused(archive):
    cifar, path = archive
    path.write_bytes(gzip.compress(b"<html>not found</html>" * 100))
    with pytest.raises(DataError, match="must be a complete"):
        read_cifar(cifar, str(path.parent), "cifar")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (batch_content(0, num_labels=3), "as many labels as images"),
        (batch_content(0, highest_label=10), "labels from 0 to 9"),
        (batch_content(0, label_key=b"fine_labels"), "list of as many labels"),
        (pickle.dumps({b"data": [1]}, protocol=3), "rows of 3072 bytes"),
    ],
)
def test_batch_with_other_content_is_refused(content, reason, tmp_path):
    cifar, contents = tiny(CIFAR10)
    cifar, contents = tiny(CIFAR10, {**contents, "data_batch_2": content})
    write_folder(tmp_path / archive_of(cifar).folder, contents)
    with pytest.raises(DataError, match=f"data_batch_2 must hold .*{reason}"):
        read_cifar(cifar, str(tmp_path), "cifar")


@pytest.fixture(scope="module")
def published():
    if not HAS_ARCHIVE:
        pytest.skip(f"{archive_of(CIFAR10).name} is not here")
    return read_by_name("cifar10", data_dir=str(SHARED), normalization="cifar")


@pytest.mark.slow
def test_published_data_has_5000_training_and_1000_test_images_a_class(published):
    assert [targets.bincount().tolist() for _, targets in published] == [[5000] * 10, [1000] * 10]


@pytest.mark.slow
def test_published_training_images_have_mean_zero_and_unit_variance_a_channel(published):
    inputs = published[0][0]
    moments = torch.stack([inputs.mean((0, 2, 3)), inputs.std((0, 2, 3))])
    # The constants are stated to four digits; one unit of the last is 4e-4 standard deviations.
    torch.testing.assert_close(moments, torch.tensor([[0.0] * 3, [1.0] * 3]), rtol=0, atol=5e-4)
