# (Son of) Grid Engine, Univa. `smp` is the usual name of the parallel environment; h_rss or h_vmem that of memory a slot.
submit() {  # CPUs, MB, minutes, gres, script -> the job's id
    [ -z "$4" ] || unasked "$4"  # every site has a name of its own for GPUs
    qsub -terse -V -cwd -S /bin/bash -j y -o .snakemake/cluster_logs/ -pe smp "$1" -l h_vmem=$(($2 / $1 + 1))M \
        -l h_rt=$(($3 * 60)) ${UNROLLED_SUBMIT:-} "$5"
}

listed() {  # whether a job waits or runs, or nobody knows; one in error (Eqw) never will
    local jobs
    jobs=$(qstat 2>/dev/null) || return 0
    awk -v id="$1" '$1 == id && $5 !~ /E/ {there = 1} END {exit !there}' <<<"$jobs"
}

cancel() {  # ids
    qdel "$@"
}
