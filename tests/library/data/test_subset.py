import pytest
import torch

from landscape.data.subset import balanced_subset, disjoint_subsets, keep_examples
from landscape.errors import InputError

# 100 examples of class 0, 50 of class 3, 7 of class 9, in an order of no kind.
UNBALANCED = torch.tensor([0] * 100 + [3] * 50 + [9] * 7)[
    torch.randperm(157, generator=torch.Generator().manual_seed(5))
]


def class_counts(targets, num_samples, seed=0):
    return torch.unique(
        targets[balanced_subset(targets, num_samples, seed=seed)], return_counts=True
    )[1].tolist()


@pytest.mark.parametrize("num_samples", [1, 2, 3, 10, 20, 21])
def test_class_counts_differ_by_at_most_one(num_samples):
    counts = [*class_counts(UNBALANCED, num_samples), 0, 0][:3]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("num_samples", "expected"), [(27, [10, 10, 7]), (107, [50, 50, 7]), (150, [93, 50, 7])]
)
def test_small_class_gives_all_and_others_fill_up(num_samples, expected):
    assert class_counts(UNBALANCED, num_samples) == expected


@pytest.mark.parametrize("targets", [UNBALANCED, torch.rand(157), torch.rand(157, 2)])
@pytest.mark.parametrize("num_samples", [1, 40, 157])
def test_subset_is_of_distinct_ascending_indices_of_the_size_asked_for(targets, num_samples):
    indices = balanced_subset(targets, num_samples)
    assert indices.shape == (num_samples,)
    assert (indices.diff() > 0).all()


def test_whole_data_set_is_a_subset():
    assert torch.equal(balanced_subset(UNBALANCED, 157), torch.arange(157))


def test_same_seed_gives_the_same_subset():
    assert torch.equal(
        balanced_subset(UNBALANCED, 30, seed=2), balanced_subset(UNBALANCED, 30, seed=2)
    )


def test_another_seed_gives_another_subset():
    assert not torch.equal(
        balanced_subset(UNBALANCED, 30, seed=2), balanced_subset(UNBALANCED, 30, seed=3)
    )


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    balanced_subset(UNBALANCED, 30)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "targets", [torch.tensor([0, 1] * 10), torch.rand(20), torch.zeros(20, 1).long()]
)
def test_every_example_is_drawn_equally_often(targets):
    num_seeds, share = 2000, 0.3
    drawn = sum(
        balanced_subset(targets, 6, seed=s).bincount(minlength=20) for s in range(num_seeds)
    )
    standard_error = (num_seeds * share * (1 - share)) ** 0.5
    assert (drawn - num_seeds * share).abs().max() < 5 * standard_error


@pytest.mark.parametrize("num_samples", [0, -1, 158])
def test_impossible_number_is_refused(num_samples):
    with pytest.raises(
        InputError, match=f"the number of samples must be from 1 to 157, got {num_samples}"
    ):
        balanced_subset(UNBALANCED, num_samples)


def test_kept_examples_are_balanced_and_keep_their_targets():
    inputs, targets = keep_examples((2 * UNBALANCED, UNBALANCED), 21)
    assert torch.equal(inputs, 2 * targets)
    assert torch.unique(targets, return_counts=True)[1].tolist() == [7, 7, 7]


def test_no_number_keeps_all_examples():
    examples = (UNBALANCED.float(), UNBALANCED)
    assert keep_examples(examples, None) is examples


def class_shares(targets, num_subsets, num_samples=None):
    subsets = disjoint_subsets(targets, num_subsets, num_samples=num_samples)
    return torch.stack(
        [(targets[indices][:, None] == targets.unique()).sum(0) for indices in subsets]
    )


def test_disjoint_subsets_of_no_given_size_are_all_examples_each_once():
    assert torch.equal(torch.cat(disjoint_subsets(UNBALANCED, 4)).sort().values, torch.arange(157))


@pytest.mark.parametrize("num_samples", [None, 30])
def test_disjoint_subsets_have_the_same_share_of_every_class(num_samples):
    counts = class_shares(UNBALANCED, 5, num_samples)
    assert (counts.max(dim=0).values - counts.min(dim=0).values).max() <= 1


def test_disjoint_subsets_of_a_given_size_are_balanced_and_do_not_meet():
    subsets = disjoint_subsets(UNBALANCED, 2, num_samples=7, seed=1)
    assert [len(indices) for indices in subsets] == [7, 7]
    chosen = torch.cat(subsets)
    assert torch.equal(chosen.sort().values, balanced_subset(UNBALANCED, 14, seed=1))


def test_disjoint_subsets_of_targets_that_are_no_classes_are_random():
    first, second = (disjoint_subsets(torch.arange(20.0), 2, seed=seed)[0] for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("num_subsets", "num_samples"), [(1, None), (158, None), (4, 40), (2, 0)])
def test_disjoint_subsets_that_cannot_be_are_refused(num_subsets, num_samples):
    with pytest.raises(
        InputError, match=r"disjoint subsets of 157 examples must be 2 or more and not empty"
    ):
        disjoint_subsets(UNBALANCED, num_subsets, num_samples=num_samples)
