# Slurm by hand; workflow/profiles/slurm does more. Variables of an outer job must not reach the inner one.
submit() {  # CPUs, MB, minutes, gres, script -> the job's id
    sbatch --parsable --cpus-per-task="$1" --mem="$2" --time="$3" --output=.snakemake/cluster_logs/%j.log \
        ${4:+--gres="$4"} ${UNROLLED_SUBMIT:-} "$5" | cut -d';' -f1
}

listed() {  # whether a job waits or runs, or nobody knows until the controller is back
    [ -n "$(squeue --noheader --job="$1" 2>/dev/null)" ] || [[ $(scontrol ping 2>&1) != *"is UP"* ]]
}

cancel() {  # ids
    scancel "$@"
}
