# PBS Professional, OpenPBS; Torque writes -l nodes=1:ppn=N,mem=...mb instead of -l select.
submit() {  # CPUs, MB, minutes, script -> the job's id
    mkdir -p .snakemake/cluster_logs
    qsub -V -j oe -o "$PWD/.snakemake/cluster_logs/" -l "select=1:ncpus=$1:mem=$2mb" -l "walltime=$(($3 * 60))" \
        ${UNROLLED_SUBMIT:-} "$4"
}

status() {  # id -> running (or PBS does not answer), success or failed; -x knows finished jobs, too
    { qstat -x -f "$1" 2>&1 || true; } | awk -F' = ' '/^ *job_state/ {state = $2} /^ *Exit_status/ {code = $2}
        /Unknown Job/ {state = "X"}
        END {print state !~ /^[FCX]/ ? "running" : code == "0" ? "success" : "failed"}'
}

cancel() {  # ids
    qdel "$@"
}
