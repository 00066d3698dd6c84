# The table -> clusters, or pairs of neighbours -> folds -> the certificate, without which nothing is trained. What
# neighbours and certificates align in common is aligned before them.


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
    threads: HALF
    resources:
        mem_mb=growing(4000),
        runtime=growing(4 * 60),
    params:
        identity=lambda w: CARDS["split"][w.split]["identity"],
        coverage=lambda w: CARDS["split"][w.split]["coverage"],
    shell:
        "unrolled cluster --table {input.table:q} --data-card {input.card:q} --identity {params.identity} "
        "--coverage {params.coverage} --threads {threads} --out {output:q} > {log:q} 2>&1"


rule identities:
    input:
        table="results/data/{data}/table.parquet",
        data_card="config/data/{data}.yaml",
        code=code("allpairs", "gate", "inputs", "nearest", "candidates", "definitions", "identity", "pairwise"),
    output:
        "results/data/{data}/identities-{definition}.parquet",
    log:
        "results/data/{data}/logs/identities-{definition}.log",
    benchmark:
        "results/data/{data}/benchmarks/identities-{definition}.tsv"
    wildcard_constraints:
        definition=one_of(definitions.DEFINITIONS),
    conda:
        "../../envs/tools.yaml"
    threads: EVERY
    resources:
        mem_mb=growing(4000),
        runtime=growing(4 * 60),
    shell:
        "unrolled identities --table {input.table:q} --data-card {input.data_card:q} "
        "--definition {wildcards.definition} --threads {threads} --out {output:q} > {log:q} 2>&1"


rule neighbours:
    input:
        table="results/data/{data}/table.parquet",
        data_card="config/data/{data}.yaml",
        split_card="config/split/{split}.yaml",
        identities=of_all_pairs,
        code=code(
            "neighbours",
            "allpairs",
            "gate",
            "inputs",
            "audit",
            "bounds",
            "jit",
            "kernel",
            "kernel_scores.cpp",
            "kernel_products.h",
            "candidates",
            "homology",
            "nearest",
            "definitions",
            "identity",
            "pairwise",
        ),
    output:
        f"{SPLIT}/neighbours.parquet",
    log:
        f"{SPLIT}/logs/neighbours.log",
    benchmark:
        f"{SPLIT}/benchmarks/neighbours.tsv"
    wildcard_constraints:
        split=one_of(SEPARATED),
    conda:
        "../../envs/tools.yaml"
    threads: HALF
    resources:
        mem_mb=growing(4000),
        runtime=growing(4 * 60),
    shell:
        "unrolled neighbours --table {input.table:q} --data-card {input.data_card:q} "
        "--split-card {input.split_card:q} --identities {input.identities:q} --threads {threads} --out {output:q} "
        "> {log:q} 2>&1"


rule folds:
    input:
        table="results/data/{data}/table.parquet",
        data_card="config/data/{data}.yaml",
        split_card="config/split/{split}.yaml",
        clusters=branch(lambda w: w.split in CLUSTERED, then=f"{SPLIT}/clusters.parquet"),
        neighbours=branch(lambda w: w.split in SEPARATED, then=f"{SPLIT}/neighbours.parquet"),
        code=code(
            "split",
            "table",
            "series",
            "task",
            "tasks",
            "transduction",
            "disjoint",
            "partition",
            "balancing",
            "separator",
            "coarse",
            "exact",
            "jit",
        ),
    output:
        folds=f"{SPLIT}/folds.parquet",
        removed=f"{SPLIT}/removed.csv",
        summary=f"{SPLIT}/split.json",
    log:
        f"{SPLIT}/logs/folds.log",
    conda:
        "../../envs/tools.yaml"
    threads: HALF
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        folder=subpath(output.folds, parent=True),
        groups=lambda w, input: [f"--{kind} {input[kind]}" for kind in ("clusters", "neighbours") if input[kind]],
    shell:
        "unrolled folds --table {input.table:q} --data-card {input.data_card:q} "
        "--split-card {input.split_card:q} {params.groups} --threads {threads} --out {params.folder:q} > {log:q} 2>&1"


rule certificate:
    input:
        table="results/data/{data}/table.parquet",
        folds=f"{SPLIT}/folds.parquet",
        data_card="config/data/{data}.yaml",
        split_card="config/split/{split}.yaml",
        identities=of_all_pairs,
        code=code(
            "audit",
            "allpairs",
            "gate",
            "nearest",
            "candidates",
            "homology",
            "definitions",
            "identity",
            "pairwise",
            "inputs",
            "copies",
            "series",
            "shortening",
        ),
    output:
        certificate=f"{SPLIT}/certificate.json",
        identity=f"{SPLIT}/identity.parquet",
    log:
        f"{SPLIT}/logs/certificate.log",
    benchmark:
        f"{SPLIT}/benchmarks/certificate.tsv"
    conda:
        "../../envs/tools.yaml"
    threads: HALF
    resources:
        mem_mb=growing(4000),
        runtime=growing(4 * 60),
    params:
        folder=subpath(output.certificate, parent=True),
        identities=lambda w, input: f"--identities {input.identities}" if input.identities else "",
    shell:
        "unrolled certify --table {input.table:q} --folds {input.folds:q} --data-card {input.data_card:q} "
        "--split-card {input.split_card:q} {params.identities} --threads {threads} --out {params.folder:q} "
        "> {log:q} 2>&1"
