# PBS Professional, OpenPBS; Torque writes -l nodes=1:ppn=N:gpus=N,mem=...mb instead of -l select.
submit() {  # CPUs, MB, minutes, gres, script -> the job's id
    local gpus
    gpus=$(whole_gpus "$4")
    qsub -V -j oe -o "$PWD/.snakemake/cluster_logs/" -l "select=1:ncpus=$1:mem=$2mb${gpus:+:ngpus=$gpus}" \
        -l "walltime=$(($3 * 60))" ${UNROLLED_SUBMIT:-} "$5"
}

listed() {  # whether a job waits or runs, or nobody knows; Torque lists for a while what has ended, in state C
    [[ ! $(qstat -f "$1" 2>&1) =~ (Unknown Job|has finished|job_state = [CFX]) ]]
}

cancel() {  # ids
    qdel "$@"
}
