"""Optimizers: SAM and its family, and the names under which they are built.

Conventions:

- `state` and `param_groups` are the base's own, so schedulers and resuming see one optimizer;
  `state_dict` adds a few counters, under `sam`.
- Parameter groups with the same rho, p, adaptive and eta share one ball, so groups made for the
  sake of weight decay change nothing. A group that differs in one of them has its own ball.
- Weight decay lives in the base optimizer and is not part of the gradient that is climbed,
  unless `decay_in_ascent`. (Foret et al.'s own code adds it to the loss, and so to both.)
- All passes of a step see the same dropout masks, and buffers of `module` (BatchNorm
  statistics) move in the first one only. Without `module` they move in every pass.
- A gradient that is not finite, in any pass, skips the update: weights and base state stay as
  they are and `skipped_steps` counts one. Where the gradient is zero, or every rho is 0, the
  base steps with the first gradient, and there is no second pass.
- With `direction="random"` nothing is climbed. `step` still begins with a pass at w, whose loss
  it returns and whose BatchNorm statistics stay; a loop of `first_step` and `second_step` can
  do without.
- Memory for one copy of the weights is kept from step to step.
- Weights should be float32 or float64: a perturbation of the usual size is below the resolution
  of bfloat16, which is warned of.
- Gradients that are there before `step`, as loops that accumulate leave them, and that its one
  closure does not clear, are added to those of each pass.
- Sparse gradients are made dense for the ascent; the base is given those of the last pass as
  they are.

Gradient accumulation: give `step` a list of closures, one a micro-batch, each with its own
share of the loss, none clearing gradients. Data-parallel training: give the
DistributedDataParallel as `module`. `scope` says whose gradient one ascent follows (the m
examples of m-sharpness, Foret et al. 2021, section 4.1): `batch`, all of them; `process`, this
process's, each process at a point of its own; `micro-batch`, one closure's. The update is with
the sum over all closures, and the mean over all processes, in any case.

Mixed precision: `step(closure, scaler)` takes a `torch.amp.GradScaler` for closures that scale
the loss; `scaler.step(optimizer, closure)` is the same. Call `scaler.update()` after it. Gradients
are unscaled once, after the last pass.
"""

from __future__ import annotations

from landscape.optim.family import GSAM, OPTIMIZERS, FriendlySAM, build_optimizer
from landscape.optim.sam import SAM

__all__ = ["GSAM", "OPTIMIZERS", "SAM", "FriendlySAM", "build_optimizer"]
