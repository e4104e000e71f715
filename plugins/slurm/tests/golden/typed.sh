#!/bin/bash
#SBATCH --partition=gpu
#SBATCH --account=physics
#SBATCH --qos=long
#SBATCH --nodes=2-4
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --gres=gpu:a100:2
#SBATCH --time=1-12:30:00
#SBATCH --constraint='[rack1|rack2]&ib'

cd '/home/me/my work/ct-4f2a-3-0' || exit 0
if [ -L results/ct-4f2a-3-0.process ]; then
    echo "the task is not begun a second time" >&2
    exit 75
fi
mkdir -p ..
export COVALENT_CORE_SUPERVISOR=ct-4f2a-3-0
export COVALENT_CORE_DEADLINE=${SLURM_JOB_END_TIME:-$(($(date +%s) + 131400))}
exec python3 bundle.pyz
