#!/bin/bash
#SBATCH --signal=R:sigusr2@60

cd '/home/me/my work/ct-4f2a-3-0' || exit 0
if [ -L results/ct-4f2a-3-0.process ]; then
    echo "the task is not begun a second time" >&2
    exit 75
fi
mkdir -p ..
trap '' USR2
export COVALENT_CORE_SUPERVISOR=ct-4f2a-3-0
export COVALENT_CORE_DEADLINE=${SLURM_JOB_END_TIME}
python3 bundle.pyz &
runner=$!
trap 'kill -TERM $runner' TERM
trap 'kill -USR2 $runner' USR2
while kill -0 $runner 2>/dev/null; do wait $runner; done
trap - TERM
trap '' USR2
echo done
