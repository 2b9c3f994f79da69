"""Implementations of SAM with faults, for the audit to find, and sound ones in several styles."""

import torch
from torch.optim import Optimizer

from landscape.optim import SAM


class Naive(Optimizer):
    """What one writes first."""

    def __init__(self, params, base_optimizer, rho=0.05, **options):
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base_optimizer(
            [dict(group) for group in self.param_groups], **options
        )

    @torch.no_grad()
    def first_step(self):
        pairs = [
            (w, group["rho"])
            for group in self.param_groups
            for w in group["params"]
            if w.grad is not None
        ]
        norm = sum(w.grad.square().sum() for w, _ in pairs) ** 0.5
        for w, rho in pairs:
            self.state[w]["old"] = w.clone()
            w.add_(w.grad * (rho / norm))

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    w.data = self.state[w]["old"]
        self.base_optimizer.step()

    def step(self, closure):
        self.first_step()
        closure()
        self.second_step()


class TwiceAsFar(SAM):
    def __init__(self, params, base, **options):
        super().__init__(params, base, **options)
        self.rho_factor = 2.0


class LeavesAMark(SAM):
    def _begin_ascent(self, scale):
        for w in self._weights():
            self.state[w]["seen"] = True
        return super()._begin_ascent(scale)


class IgnoresEta(SAM):
    def __init__(self, params, base, *, eta=0.01, **options):
        super().__init__(params, base, eta=0.01, **options)


class IgnoresTheNorm(SAM):
    def __init__(self, params, base, *, p=2.0, **options):
        super().__init__(params, base, **options)


class NeverZero(SAM):
    def __init__(self, params, base, *, rho=0.05, **options):
        super().__init__(params, base, rho=rho or 1e-3, **options)


class Subtracts(Naive):
    @torch.no_grad()
    def first_step(self):
        norm = sum(w.grad.square().sum() for w in self.param_groups[0]["params"]) ** 0.5
        for w in self.param_groups[0]["params"]:
            self.state[w]["move"] = w.grad * (self.param_groups[0]["rho"] / norm)
            w.add_(self.state[w]["move"])

    @torch.no_grad()
    def second_step(self):
        for w, state in self.state.items():
            w.sub_(state["move"])
        self.base_optimizer.step()


class TrainsPlainly(Naive):
    def second_step(self):
        for w, state in self.state.items():
            w.data = state.pop("old")
        self.base_optimizer.step()


class ForgetsTheModule(SAM):
    def __init__(self, params, base, *, module=None, **options):
        super().__init__(params, base, **options)


class UnscalesTwice(SAM):
    def first_step(self, scaler=None):
        if scaler is not None:
            scaler.unscale_(self.base)
        return super().first_step(scaler)


class BaseFirst:
    """Sound steps around an optimizer that is there already; nothing else."""

    def __init__(self, optimizer, model, rho=0.05):
        self._sam = SAM(model.parameters(), optimizer, rho=rho)

    def ascent_step(self):
        self._sam.first_step()

    def descent_step(self):
        self._sam.second_step()


class BaseBeside(SAM):
    """Wants a base that was made before."""

    def __init__(self, params, base_optimizer, rho=0.05):
        assert isinstance(base_optimizer, Optimizer), "not a class"
        super().__init__(params, base_optimizer, rho=rho)


class OwnDescent(SAM):
    """Goes around nothing but SGD."""

    def __init__(self, params, lr, momentum=0.0, rho=0.05):
        if any(isinstance(group, dict) for group in params):
            raise ValueError("no groups")
        super().__init__(params, torch.optim.SGD, lr=lr, momentum=momentum, rho=rho)


class WantsASchedule(Optimizer):
    def __init__(self, params, base_optimizer, rho, schedule):
        raise NotImplementedError


class NeverSteps(SAM):
    def step(self, closure):
        raise NotImplementedError("not\nyet")

    def first_step(self):
        raise NotImplementedError

    second_step = first_step


def make_sam(params, base, rho=0.05, **options):
    return SAM(params, base, rho=rho, **options)
