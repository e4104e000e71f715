#!/bin/bash
#SBATCH --partition=gpu

jobs=(
'ct-4f2a-3-0 ../4f2a/node_3'
'ct-4f2a-5-1 ../4f2a/node_5'
)
read -r ticket workdir <<< "${jobs[$SLURM_ARRAY_TASK_ID]}"
cd '/home/me/my work'/"$ticket" || { rm -f '/home/me/my work'/ct-4f2a-3-0-array/"$SLURM_ARRAY_TASK_ID".out; rmdir '/home/me/my work'/ct-4f2a-3-0-array; exit 0; }
mv '/home/me/my work'/ct-4f2a-3-0-array/"$SLURM_ARRAY_TASK_ID".out slurm.out; : > '/home/me/my work'/ct-4f2a-3-0-array/"$SLURM_ARRAY_TASK_ID".out
if [ -L results/"$ticket".process ]; then
    echo "the task is not begun a second time" >&2
    exit 75
fi
mkdir -p "$workdir"
export COVALENT_CORE_SUPERVISOR="$ticket"
export COVALENT_CORE_DEADLINE=${SLURM_JOB_END_TIME}
eval "$(conda shell.bash hook)" && conda activate 'my env' || exit
python3 bundle.pyz &
runner=$!
trap 'kill -TERM $runner' TERM
while kill -0 $runner 2>/dev/null; do wait $runner; done
trap - TERM
module purge
