# IBM Spectrum LSF, 10.1 or later. Memory is per job where the site counts so (LSB_JOB_MEMLIMIT).
submit() {  # CPUs, MB, minutes, script -> the job's id
    mkdir -p .snakemake/cluster_logs
    bsub -n "$1" -R "span[hosts=1] rusage[mem=${2}MB]" -M "${2}MB" -W "$3" -o .snakemake/cluster_logs/%J.log \
        ${UNROLLED_SUBMIT:-} bash "$4" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
}

status() {  # id -> running, success or failed
    case "$(bjobs -noheader -o stat "$1" 2>&1)" in
        DONE) echo success ;;
        EXIT | ZOMBI | *"is not found"*) echo failed ;;
        *) echo running ;;  # or nobody knows: its host or LSF itself does not answer
    esac
}

cancel() {  # ids
    bkill "$@"
}
