# IBM Spectrum LSF, 10.1 or later. Memory is per job where the site counts so (LSB_JOB_MEMLIMIT).
submit() {  # CPUs, MB, minutes, gres, script -> the job's id
    local gpus
    gpus=$(whole_gpus "$4")
    bsub -n "$1" -R "span[hosts=1] rusage[mem=${2}MB]" -M "${2}MB" -W "$3" -o .snakemake/cluster_logs/%J.log \
        ${gpus:+-gpu "num=$gpus"} ${UNROLLED_SUBMIT:-} bash "$5" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
}

listed() {  # whether a job waits or runs, or nobody knows: its host (UNKWN) or LSF itself does not answer
    [[ ! $(bjobs -noheader -o stat "$1" 2>&1) =~ (DONE|EXIT|ZOMBI|is not found) ]]
}

cancel() {  # ids
    bkill "$@"
}
