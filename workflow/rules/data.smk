# Raw files -> the canonical table.
# Options that may be empty are written --name=value: nothing quoted is nothing, and the next word would be the value.


rule fetch:
    output:
        "results/raw/{raw}",
    log:
        "results/raw/.logs/{raw}.log",
    wildcard_constraints:
        raw=one_of(DOWNLOADS),
    conda:
        "../../envs/tools.yaml"
    resources:
        mem_mb=500,
        runtime="2h",
        # a resource, not a parameter: another mirror is no reason to download again
        mirror=str(config.get("mirror") or ""),
    params:
        url=lambda w: DOWNLOADS[w.raw]["url"],
        sha256=lambda w: DOWNLOADS[w.raw].get("sha256", ""),
        dataset=lambda w: w.raw.split("/")[0],
    shell:
        "unrolled fetch --url {params.url:q} --sha256={params.sha256:q} --out {output:q} "
        "--dataset {params.dataset:q} --mirror={resources.mirror:q} 2>&1 | tee {log:q} >&2"


rule query:
    output:
        table="results/raw/{raw}",
        source="results/raw/{raw}.json",
    log:
        "results/raw/.logs/{raw}.log",
    wildcard_constraints:
        raw=one_of(QUERIES),
    conda:
        "../../envs/tools.yaml"
    resources:
        mem_mb=500,
        runtime="4h",
        mirror=str(config.get("mirror") or ""),
    params:
        query=lambda w: QUERIES[w.raw]["query"],
        fields=lambda w: ",".join(QUERIES[w.raw]["fields"]),
        service=lambda w: QUERIES[w.raw].get("service", ""),
        dataset=lambda w: w.raw.split("/")[0],
    shell:
        "unrolled query --query {params.query:q} --fields {params.fields:q} --service={params.service:q} "
        "--out {output.table:q} --dataset {params.dataset:q} --mirror={resources.mirror:q} 2>&1 | tee {log:q} >&2"


rule table:
    input:
        files=lambda w: raw_files(w.data),
        sources=lambda w: sources(w.data),
        card="config/data/{data}.yaml",
        code=code(
            *(
                "table",
                "shortening",
                "task",
                "tasks",
                "transduction",
                "inputs",
                "series",
                "formats",
                "series_formats",
                "fasta_format",
                "headers",
                "records",
                "reading",
            ),
            *(
                "archives",
                "formulas",
                "alphabet",
                "uniprot",
                "swissprot",
                "locations",
                "features",
                "simulate",
                "puzzles",
            ),
        ),
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
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        folder=subpath(output.table, parent=True),
    shell:
        "unrolled table --card {input.card:q} --out {params.folder:q} {input.files:q} > {log:q} 2>&1"
