"""Short sentences, a model of them, and their mean loss over the tokens that count."""

import torch
from torch import nn
from torch.nn import functional as F

_GENERATOR = torch.Generator().manual_seed(5)
WORDS = torch.randint(0, 7, (13, 4), generator=_GENERATOR)
NEXT = torch.randint(0, 5, (13, 4), generator=_GENERATOR)
NEXT[:6, 1:] = -100  # the first ones are short
NEXT[3] = -100  # one says nothing


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 3), nn.Linear(3, 5)

    def forward(self, words):
        return self.head(torch.tanh(self.embedding(words)))  # (B, T, V)


def of_tokens(outputs, targets):
    return F.cross_entropy(outputs.movedim(-1, 1), targets)


def sum_and_count(outputs, targets):
    counted = targets != -100
    total = F.cross_entropy(outputs.movedim(-1, 1), targets, reduction="sum")
    return total, counted.sum()
