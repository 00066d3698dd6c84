# The table -> clusters -> folds. The audit of a split, whose certificate will gate training, takes its place here.


rule cluster:
    input:
        table="results/data/{data}/table.parquet",
        card="config/data/{data}.yaml",
        code=code("homology"),
    output:
        f"{SPLIT}/clusters.parquet",
    log:
        f"{SPLIT}/logs/cluster.log",
    benchmark:
        f"{SPLIT}/benchmarks/cluster.tsv"
    wildcard_constraints:
        split=one_of(CLUSTERED),
    conda:
        "../../envs/tools.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        identity=lambda w: CARDS["split"][w.split]["identity"],
        coverage=lambda w: CARDS["split"][w.split]["coverage"],
    shell:
        "unrolled cluster --table {input.table:q} --data-card {input.card:q} --identity {params.identity} "
        "--coverage {params.coverage} --threads {threads} --out {output:q} > {log:q} 2>&1"


rule folds:
    input:
        table="results/data/{data}/table.parquet",
        data_card="config/data/{data}.yaml",
        split_card="config/split/{split}.yaml",
        clusters=branch(lambda w: w.split in CLUSTERED, then=f"{SPLIT}/clusters.parquet"),
        code=code("split", "table"),
    output:
        folds=f"{SPLIT}/folds.parquet",
        summary=f"{SPLIT}/split.json",
    log:
        f"{SPLIT}/logs/folds.log",
    conda:
        "../../envs/tools.yaml"
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        folder=subpath(output.folds, parent=True),
        clusters=lambda w, input: (f"--clusters {input.clusters}" if input.clusters else ""),
    shell:
        "unrolled folds --table {input.table:q} --data-card {input.data_card:q} "
        "--split-card {input.split_card:q} {params.clusters} --out {params.folder:q} > {log:q} 2>&1"
