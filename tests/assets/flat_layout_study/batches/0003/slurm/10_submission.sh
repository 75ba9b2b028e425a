#!/bin/bash

# Parameters
#SBATCH --array=0-1%2
#SBATCH --cpus-per-task=1
#SBATCH --error=/scratch/studies/before/batches/0003/slurm/%A_%a_0_log.err
#SBATCH --gres=gpu:1
#SBATCH --hold
#SBATCH --job-name=fr-before-ebe137-0003-40857f
#SBATCH --mem=16384M
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/scratch/studies/before/batches/0003/slurm/%A_%a_0_log.out
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=240

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /scratch/studies/before/batches/0003/slurm/%A_%a_%t_log.out --error /scratch/studies/before/batches/0003/slurm/%A_%a_%t_log.err python -IS /scratch/frontrunner/slurm/maskwrap.py -u -m slurm.submitit_start /scratch/studies/before/batches/0003/slurm
