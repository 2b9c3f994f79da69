import gzip
import zipfile

import numpy as np
import pytest
import torch

from landscape.data.fashion_mnist import read_idx
from landscape.data.mitbih import read_heartbeats
from landscape.data.published_files import opened_within
from landscape.errors import CheckpointError, DataError
from landscape.io.checkpoint import load_checkpoint
from landscape.io.schema import Misfit, build_record
from landscape.results.provenance import Provenance
from landscape.results.surface import Directions


@pytest.mark.parametrize("number", [0, -1, 100_000, "x", 1.5, True, None, 10**400])
def test_a_plan_has_no_number_of_threads_that_torch_cannot_take(number):
    with pytest.raises(Misfit, match="plan/num_threads must be from 1 to"):
        build_record(Provenance, {"plan": {"num_threads": number}})


def test_a_shape_that_does_not_fit_is_named_with_the_one_that_is_needed():
    values = {
        "vectors": np.ones((2, 5)),
        "names": ["a", "b"],
        "weight_names": ["w"],
        "weight_shapes": [[5]],
        "normalization": "none",
    }
    assert build_record(Directions, values).weight_shapes == ((5,),)
    with pytest.raises(Misfit, match=r"origin has the shape \(4,\), needs \(5\)"):
        build_record(Directions, {**values, "origin": np.ones(4)})
    with pytest.raises(Misfit, match="names is missing"):
        build_record(Directions, {**values, "names": None})


def test_a_line_too_long_for_a_heartbeat_is_given_up(tmp_path):
    path = tmp_path / "mitbih_train.csv.gz"
    path.write_bytes(gzip.compress(b"0," * 10**7, 9))
    with pytest.raises(DataError, match="row 1: a heartbeat has 187 values"):
        read_heartbeats(path)


def test_a_stream_is_given_up_at_its_limit(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(1001)))
    with opened_within(tmp_path / "a.gz", 1001) as file:
        assert len(file.read()) == 1001
    with opened_within(tmp_path / "a.gz", 1000) as file, pytest.raises(DataError, match="at most"):
        file.read()


def test_an_idx_file_that_claims_too_much_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.idx"
    path.write_bytes(b"\0\0\x08\x01\xff\xff\xff\xff")
    with pytest.raises(DataError, match="must have at most"):
        read_idx(path, num_dimensions=1)


def test_a_checkpoint_that_unpacks_to_far_more_is_refused(tmp_path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "a.pt")
    source = zipfile.ZipFile(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    with pytest.raises(CheckpointError, match="unpacks to"):
        load_checkpoint(tmp_path / "b.pt")


def test_a_flipped_bit_in_a_tensor_of_a_foreign_checkpoint_is_an_error(tmp_path):
    path, weights = tmp_path / "a.pt", torch.arange(100.0)
    torch.save({"a": weights}, path)
    content = bytearray(path.read_bytes())
    content[content.find(weights.numpy().tobytes()) + 7] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)
