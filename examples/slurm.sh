#!/bin/sh
# A job array without Dask: each task of the array processes a part of the shapes into a folder of its own, and one more
# run joins the parts. The shapes are those of a manifest, and all machines share the current folder.
#   sdfkit manifest raw/ -o manifest.json
#   job=$(sbatch --parsable --array=1-16 examples/slurm.sh manifest.json work/ 16)
#   sbatch --dependency=afterok:"$job" examples/slurm.sh manifest.json work/ 16
# Any scheduler, or a loop, can set the number of the part:
#   for part in 1 2 3 4; do SLURM_ARRAY_TASK_ID=$part sh examples/slurm.sh manifest.json work/ 4; done
#   sh examples/slurm.sh manifest.json work/ 4
# Submitted again, as a whole or as --array=3,7, it continues where it stopped.
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=08:00:00
set -eu
[ $# = 3 ] || { echo "usage: ${0##*/} MANIFEST FOLDER PARTS" >&2 && exit 2; }
manifest=$1 work=$2 parts=$3
mkdir -p "$work"

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    part=$work/part-$SLURM_ARRAY_TASK_ID
    mkdir -p "$part"
    sdfkit select "$manifest" --part "$SLURM_ARRAY_TASK_ID/$parts" -o "$part/manifest.json"
    # Status 4: some shapes have failed. They are listed in the log of the task, and the others continue.
    sdfkit watertight "$part/manifest.json" -o "$part/closed/" || [ $? = 4 ]
    sdfkit sample-sdf "$part/closed/" -o "$part/samples.zarr" || [ $? = 4 ]
    sdfkit render "$part/closed/" -o "$part/views.zarr" || [ $? = 4 ]
    exit
fi

for name in closed/ samples.zarr views.zarr; do
    set --
    number=1
    while [ "$number" -le "$parts" ]; do
        set -- "$@" "$work/part-$number/$name"
        number=$((number + 1))
    done
    sdfkit cat "$@" -o "$work/$name"
done
