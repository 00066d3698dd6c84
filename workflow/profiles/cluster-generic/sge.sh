# (Son of) Grid Engine, Univa. `smp` is the usual name of the parallel environment; h_rss or h_vmem that of memory a slot.
submit() {  # CPUs, MB, minutes, script -> the job's id
    mkdir -p .snakemake/cluster_logs
    qsub -terse -V -cwd -S /bin/bash -j y -o .snakemake/cluster_logs/ -pe smp "$1" -l h_vmem=$(($2 / $1 + 1))M \
        -l h_rt=$(($3 * 60)) ${UNROLLED_SUBMIT:-} "$4"
}

status() {  # id -> running, success or failed; qacct knows a job some seconds after its end
    if ! qstat >/dev/null 2>&1; then
        echo running  # nobody knows until the master is back
        return
    fi
    if qstat -j "$1" >/dev/null 2>&1; then
        { qstat || true; } | awk -v id="$1" '$1 == id && $5 ~ /E/ {broken = 1} END {print broken ? "failed" : "running"}'
        return
    fi
    local told
    for _ in 1 2 3 4 5 6; do
        told=$({ qacct -j "$1" 2>/dev/null || true; } | awk '$1 == "failed" || $1 == "exit_status" {sum += $2 != 0; n++}
            END {if (n) print sum ? "failed" : "success"}')
        [ -n "$told" ] && break
        sleep 5
    done
    echo "${told:-failed}"
}

cancel() {  # ids
    qdel "$@"
}
