#!/bin/bash

cd '/home/me/my work/ct-4f2a-3-0' || exit 0
if [ -L results/ct-4f2a-3-0.process ]; then
    echo "the task is not begun a second time" >&2
    exit 75
fi
mkdir -p ..
export COVALENT_CORE_SUPERVISOR=ct-4f2a-3-0
export COVALENT_CORE_DEADLINE=${SLURM_JOB_END_TIME}
export OMP_NUM_THREADS=4
export TITLE='a '"'"'b'"'"' $c'
source "$HOME/.bashrc"
module load python/3.11 || exit
eval "$(conda shell.bash hook)" && conda activate 'my env' || exit
exec "$HOME/bin/python3" bundle.pyz
