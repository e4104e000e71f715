#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=4

cd '/home/me/my work/ct-4f2a-3-0' || exit 0
if [ -L results/ct-4f2a-3-0.process ]; then
    echo "the task is not begun a second time" >&2
    exit 75
fi
mkdir -p ..
export COVALENT_CORE_SUPERVISOR=ct-4f2a-3-0
export COVALENT_CORE_DEADLINE=${SLURM_JOB_END_TIME}
printf '%s\n' '#!/bin/sh' ': > "${0%/*}/results/$COVALENT_CORE_SUPERVISOR.task-$SLURM_PROCID.over"' > over.sh
chmod +x over.sh
exec python3 bundle.pyz --spread srun --task-epilog="$PWD/over.sh" --export=ALL --kill-on-bad-exit=0 --wait=0 --mpi=none --cpus-per-task=4 --exact --cpu-bind=cores python3 bundle.pyz --share SLURM_PROCID
