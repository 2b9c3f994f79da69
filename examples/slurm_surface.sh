#!/bin/bash
# A loss surface on two nodes of a Slurm cluster: sbatch examples/slurm_surface.sh CKPT OUT
#
# Points are handed out to whichever process is free; the first process writes OUT. Checkpoint and data must be readable
# on every node. The run stops before the time limit with what it has; submitting the same job again goes on with it,
# for --resume begins anew only where there is no OUT yet. A process that is lost is started again by torchrun, and the
# run goes on from OUT.
#SBATCH --job-name=surface
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=01:00:00

set -euo pipefail
first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node 4 --max-restarts 3 \
    --rdzv-backend c10d --rdzv-endpoint "$first_node:29500" --rdzv-id "$SLURM_JOB_ID" \
    -m landscape_cli surface "$1" --grid 101 --split both --minutes 55 --out "$2" --resume
