"""A process's share of a batch, in pieces."""

import pytest
import torch

from landscape.problem.batches import TensorData
from landscape.runtime import distributed
from landscape.training.step import cut

DATA = TensorData(torch.arange(9.0)[:, None], torch.arange(9))


@pytest.fixture
def pieces_of_all(monkeypatch):
    """Cut a batch as each of several processes does."""

    def pieces(num_examples, size, world_size):
        monkeypatch.setattr(distributed, "is_on", lambda: True)
        monkeypatch.setattr(distributed, "world_size", lambda: world_size)
        found = []
        for rank in range(world_size):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            found.append(cut(DATA, torch.arange(num_examples), size, lambda inputs: inputs))
        return found

    return pieces


# A process has none of 1 or 2 examples; of 7, two have less than the third, and a piece less at
# size 1 and 2.
CASES = [(count, size) for count in (1, 2, 7, 9) for size in (None, 1, 2, 5)]


def test_every_example_counts_once_and_fillers_do_not(pieces_of_all):
    for num_examples, size in CASES:
        counted = [
            target
            for pieces in pieces_of_all(num_examples, size, world_size=3)
            for piece in pieces
            for target in piece.batch[1].tolist()[: piece.num_examples]
        ]
        assert counted == list(range(num_examples)), (num_examples, size)


def test_a_piece_weighs_what_makes_the_mean_over_processes_the_mean_over_examples(pieces_of_all):
    for num_examples, size in CASES:
        for pieces in pieces_of_all(num_examples, size, world_size=3):
            expected = [piece.num_examples * 3 / num_examples for piece in pieces]
            assert [piece.weight for piece in pieces] == pytest.approx(expected, rel=1e-15)


def test_all_processes_have_as_many_pieces(pieces_of_all):
    for num_examples, size in CASES:
        assert len({len(pieces) for pieces in pieces_of_all(num_examples, size, world_size=3)}) == 1
