# IBM Spectrum LSF, 10.1 or later. Memory is per job where the site counts so (LSB_JOB_MEMLIMIT).
submit() {  # CPUs, MB, minutes, script -> the job's id
    bsub -n "$1" -R "span[hosts=1] rusage[mem=${2}MB]" -M "${2}MB" -W "$3" -o .snakemake/cluster_logs/%J.log \
        ${UNROLLED_SUBMIT:-} bash "$4" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
}

listed() {  # whether a job waits or runs, or nobody knows: its host (UNKWN) or LSF itself does not answer
    [[ ! $(bjobs -noheader -o stat "$1" 2>&1) =~ (DONE|EXIT|ZOMBI|is not found) ]]
}

cancel() {  # ids
    bkill "$@"
}
