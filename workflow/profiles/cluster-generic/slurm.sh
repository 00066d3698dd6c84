# Slurm by hand; workflow/profiles/slurm does more. Variables of an outer job must not reach the inner one.
submit() {  # CPUs, MB, minutes, script -> the job's id
    mkdir -p .snakemake/cluster_logs
    sbatch --parsable --cpus-per-task="$1" --mem="$2" --time="$3" --output=.snakemake/cluster_logs/%j.log \
        ${UNROLLED_SUBMIT:-} "$4" | cut -d';' -f1
}

status() {  # id -> running, success or failed
    local state
    state=$(squeue --noheader --states=all --format=%T --job="$1" 2>/dev/null) || state=
    if [ -z "$state" ] && ! scontrol ping 2>/dev/null | grep -q "is UP"; then
        echo running  # nobody knows until the controller is back
        return
    fi
    case "$state" in
        COMPLETED) echo success ;;
        PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED | PREEMPTED) echo running ;;
        *) echo failed ;;
    esac
}

cancel() {  # ids
    scancel "$@"
}
