import resource
import socket
from dataclasses import replace

import pytest
import requests
from published import MUTAG, publish_fashion_mnist, publish_mutag, serving, zip_of

from landscape.data.download import fetch
from landscape.data.fashion_mnist import fashion_mnist
from landscape.data.publications import PUBLICATIONS
from landscape.errors import DataError


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def fashion(server):
    return publish_fashion_mnist(server)


@pytest.fixture
def mutag(server):
    return publish_mutag(server)


def content_of(folder):
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


def with_file(publication, **changed):
    first, *others = publication.files
    return replace(publication, files=(replace(first, **changed), *others))


def test_files_are_written_as_published_into_a_new_folder(server, fashion, tmp_path):
    fetched = fetch(fashion, tmp_path / "new" / "folder")
    assert content_of(tmp_path / "new" / "folder") == server.files
    assert [(file.path.name, file.is_new) for file in fetched] == [
        (file.name, True) for file in fashion.files
    ]


def test_what_was_fetched_is_what_the_reader_reads(fashion, tmp_path):
    fetch(fashion, tmp_path)
    (train, _), (test, _) = fashion_mnist(data_dir=str(tmp_path))
    assert (len(train), len(test)) == (5, 3)


def test_a_good_file_is_not_downloaded_again(server, fashion, tmp_path):
    fetch(fashion, tmp_path)
    server.asked.clear()
    assert [file.is_new for file in fetch(fashion, tmp_path)] == [False] * 4
    assert server.asked == []


def test_a_damaged_file_is_downloaded_again_and_no_other(server, fashion, tmp_path):
    fetch(fashion, tmp_path)
    server.asked.clear()
    (tmp_path / fashion.files[1].name).write_bytes(b"half")
    fetch(fashion, tmp_path)
    assert server.asked == [f"/{fashion.files[1].name}"]
    assert content_of(tmp_path) == server.files


def test_an_unpacked_file_is_left_alone(server, fashion, tmp_path):
    path = tmp_path / fashion.files[0].name.removesuffix(".gz")
    path.write_bytes(b"plain")
    fetch(fashion, tmp_path)
    assert path.read_bytes() == b"plain"
    assert len(server.asked) == 3


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_file_is_kept_packed_although_the_server_calls_that_an_encoding(
    server, fashion, tmp_path, encoding
):
    server.headers = {"Content-Encoding": encoding}
    fetch(fashion, tmp_path)
    assert content_of(tmp_path) == server.files


def refused(publication, folder, match):
    """Fetch in vain; nothing is left in the folder."""
    with pytest.raises(DataError, match=match) as caught:
        fetch(publication, folder)
    assert not folder.is_dir() or list(folder.iterdir()) == []
    assert "\n" not in caught.value.message
    return caught.value


def test_another_file_than_published_is_refused_with_both_sums(fashion, tmp_path):
    publication = with_file(fashion, md5="0" * 32)
    error = refused(
        publication,
        tmp_path,
        f"another file than published: its md5 sum is [0-9a-f]{{32}}, not {'0' * 32}",
    )
    assert "by hand" in error.hint


def test_a_file_that_is_not_there_is_refused_with_the_answer(server, fashion, tmp_path):
    server.files.clear()
    refused(
        fashion,
        tmp_path,
        "train-images-idx3-ubyte.gz cannot be downloaded: the server answers 404 Not Found",
    )


@pytest.mark.parametrize("kept_back", [1, 100])
def test_a_download_that_breaks_off_is_refused(server, fashion, tmp_path, kept_back):
    server.kept_back = kept_back
    refused(fashion, tmp_path, "the connection broke off")


def test_no_server_is_said(fashion, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        refused(
            with_file(fashion, address=nowhere), tmp_path, "there is no connection to the server"
        )


def test_a_server_that_does_not_answer_is_said(fashion, tmp_path, monkeypatch):
    def time_out(*arguments, **options):
        raise requests.exceptions.ReadTimeout("Read timed out.")

    monkeypatch.setattr(requests, "get", time_out)
    refused(fashion, tmp_path, "does not answer in time")


def test_a_file_in_place_of_the_folder_is_refused(fashion, tmp_path):
    (tmp_path / "file").write_text("")
    refused(fashion, tmp_path / "file", r"train-images-idx3-ubyte.gz cannot be written: \w")


def test_a_disk_that_takes_no_more_is_said_and_the_old_file_stays(server, fashion, tmp_path):
    path = tmp_path / fashion.files[0].name
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DataError, match="cannot be written: File too large"):
            fetch(fashion, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content_of(tmp_path) == {f"/{path.name}": b"old"}


def test_an_interrupted_download_leaves_nothing_behind(fashion, tmp_path, monkeypatch):
    class Interrupting:
        def start(self, task, total): ...

        def stop(self): ...

        def update(self, completed, **fields):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(fashion, tmp_path, progress=Interrupting())
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_the_size_of_the_file(server, mutag, tmp_path):
    heard = []

    class Listener:
        def start(self, task, total):
            heard.append(("start", task, total))

        def update(self, completed, **fields):
            heard.append(("update", completed))

        def stop(self):
            heard.append(("stop",))

    server.files["/MUTAG.zip"] += bytes(
        300_000
    )  # a .zip archive may have a tail of less than 64 kB
    with pytest.raises(DataError):
        fetch(mutag, tmp_path, progress=Listener())
    size = len(server.files["/MUTAG.zip"]) // 1000
    assert heard[0] == ("start", "MUTAG.zip, kB", size)
    assert heard[-2:] == [("update", size), ("stop",)]
    assert heard[1][1] < size


def test_an_archive_without_a_published_sum_is_known_by_its_numbers_of_lines(mutag, tmp_path):
    assert [file.is_new for file in fetch(mutag, tmp_path)] == [True]
    assert [file.is_new for file in fetch(mutag, tmp_path)] == [False]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            zip_of("MUTAG", {f"MUTAG_{part}.txt": text + "1\n" for part, text in MUTAG.items()}),
            "9 lines, not 8",
        ),
        (zip_of("MUTAG", {"MUTAG_A.txt": MUTAG["A"]}), "no whole archive of MUTAG"),
        (b"<html>moved</html>", "no whole archive of MUTAG, File is not a zip file"),
    ],
)
def test_another_archive_than_published_is_refused(server, mutag, tmp_path, content, reason):
    server.files["/MUTAG.zip"] = content
    refused(mutag, tmp_path, f"another file than published: .*{reason}")


def test_a_changed_byte_in_an_archive_is_refused(server, mutag, tmp_path):
    content = bytearray(server.files["/MUTAG.zip"])
    content[content.index(b"1, 2")] = ord("2")
    server.files["/MUTAG.zip"] = bytes(content)
    refused(mutag, tmp_path, "Bad CRC-32")


def test_files_behind_a_login_are_refused_with_page_and_names(tmp_path):
    error = refused(PUBLICATIONS["mitbih"], tmp_path, "only be downloaded after a login")
    assert (
        "mitbih_train.csv and mitbih_test.csv from "
        "https://www.kaggle.com/datasets/shayanfazeli/heartbeat" in error.hint
    )


def test_files_behind_a_login_that_are_there_are_found(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"mitbih_{split}.csv").write_text("")
    assert [file.path.name for file in fetch(PUBLICATIONS["mitbih"], tmp_path)] == [
        "mitbih_train.csv",
        "mitbih_test.csv",
    ]


def test_embedded_data_need_nothing(tmp_path):
    assert fetch(PUBLICATIONS["digits"], tmp_path / "folder") == []
    assert not (tmp_path / "folder").exists()


def test_nothing_is_logged_or_printed(fashion, tmp_path, capfd, caplog):
    fetch(fashion, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name == "pooch"]
