# IBM Spectrum LSF. Memory is per job where the site counts so (LSB_JOB_MEMLIMIT), in MB.
submit() {  # CPUs, MB, minutes, script -> the job's id
    mkdir -p .snakemake/cluster_logs
    bsub -n "$1" -R "span[hosts=1] rusage[mem=$2]" -M "$2" -W "$3" -o .snakemake/cluster_logs/%J.log \
        ${UNROLLED_SUBMIT:-} bash "$4" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
}

status() {  # id -> running, success or failed
    case "$(bjobs -noheader -o stat "$1" 2>/dev/null)" in
        DONE) echo success ;;
        PEND | RUN | PSUSP | USUSP | SSUSP | PROV | WAIT) echo running ;;
        *) echo failed ;;
    esac
}

cancel() {  # ids
    bkill "$@"
}
