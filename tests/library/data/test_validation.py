import pytest
import torch

from landscape.data.subset import held_out, stratified_part
from landscape.errors import InputError
from landscape.problem.batches import TensorData

TARGETS = torch.tensor([0] * 50 + [1] * 30 + [2] * 7 + [3] * 13)[
    torch.randperm(100, generator=torch.manual_seed(3))
]
DATA = TensorData(torch.arange(100.0)[:, None], TARGETS)


def test_the_parts_are_disjoint_and_together_everything():
    left, out = held_out(DATA, 0.2, seed=0)
    assert sorted([*left.inputs[:, 0].tolist(), *out.inputs[:, 0].tolist()]) == list(range(100))


@pytest.mark.parametrize("share", [0.1, 0.2, 1 / 3, 0.77])
def test_each_class_gives_its_share_up_to_one_example(share):
    _, out = held_out(DATA, share, seed=1)
    assert out.num_examples == round(100 * share)
    for number, count in enumerate((50, 30, 7, 13)):
        assert abs((out.targets == number).sum() - share * count) < 1


def test_examples_keep_their_targets():
    _, out = held_out(DATA, 0.3, seed=0)
    assert torch.equal(out.targets, TARGETS[out.inputs[:, 0].long()])


def test_the_seed_alone_decides_what_is_held_out():
    first = stratified_part(TARGETS, 0.2, seed=5)
    torch.manual_seed(99)
    assert torch.equal(first, stratified_part(TARGETS, 0.2, seed=5))
    assert not torch.equal(first, stratified_part(TARGETS, 0.2, seed=6))


def test_every_example_of_a_class_can_be_held_out():
    counts = sum(stratified_part(TARGETS, 0.1, seed=seed).double() for seed in range(2000)) / 2000
    for number, count in enumerate((50, 30, 7, 13)):
        of_class = counts[number == TARGETS]
        error = (
            of_class.mean() * (1 - of_class.mean()) / 2000
        ).sqrt()  # of each example's frequency
        assert (of_class - of_class.mean()).abs().max() < 4.5 * error, count


def test_targets_that_are_no_classes_give_a_uniform_part():
    assert stratified_part(torch.linspace(0, 1, 10), 0.3, seed=0).sum() == 3


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(InputError, match=r"must be in \(0, 1\), got"):
        held_out(DATA, share, seed=0)


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_part_without_examples_is_refused(share):
    with pytest.raises(InputError, match="must leave examples on both sides"):
        held_out(DATA, share, seed=0)
