# Raw files -> the canonical table.
# Options that may be empty are written --name=value: nothing quoted is nothing, and the next word would be the value.


rule fetch:
    output:
        "results/raw/{dataset}/{file}",
    log:
        "results/raw/.logs/{dataset}/{file}.log",
    conda:
        "../../envs/tools.yaml"
    resources:
        mem_mb=500,
        runtime="2h",
        # a resource, not a parameter: another mirror is no reason to download again
        mirror=str(config.get("mirror") or ""),
    params:
        url=lambda w, output: DOWNLOADS[output[0]]["url"],
        sha256=lambda w, output: DOWNLOADS[output[0]].get("sha256", ""),
    shell:
        "unrolled fetch --url {params.url:q} --sha256={params.sha256:q} --out {output:q} "
        "--dataset {wildcards.dataset:q} --mirror={resources.mirror:q} 2>&1 | tee {log:q} >&2"


rule table:
    input:
        files=lambda w: raw_files(w.data),
        card="config/data/{data}.yaml",
        code=code("table", "tasks", "formats", "reading", "archives", "alphabet", "simulate", "puzzles"),
    output:
        table="results/data/{data}/table.parquet",
        excluded="results/data/{data}/excluded.csv",
        summary="results/data/{data}/summary.json",
    log:
        "results/data/{data}/logs/table.log",
    benchmark:
        "results/data/{data}/benchmarks/table.tsv"
    conda:
        "../../envs/tools.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        folder=subpath(output.table, parent=True),
    shell:
        "unrolled table --card {input.card:q} --out {params.folder:q} {input.files:q} > {log:q} 2>&1"
