# All runs -> tidy tables -> figures and one self-contained page.


rule compare:
    input:
        metrics=from_runs("metrics.json"),
        identity=expand("results/data/{data}/{split}/identity.parquet", data=CARDS["data"], split=CARDS["split"]),
        code=code(
            "compare",
            "tested",
            "means",
            "bands",
            "lengths",
            "crew",
            "bootstrap",
            "evaluate",
            "scoring",
            "metrics",
            "areas",
            "number_metrics",
            "likelihood_metrics",
            "position_metrics",
            "sequence_metrics",
            "weighted",
            "results",
        ),
    output:
        runs=report(f"{RESULTS}/tables/runs.csv", category="Tables", caption="../report/tables.rst"),
        summary=report(f"{RESULTS}/tables/summary.csv", category="Tables", caption="../report/tables.rst"),
        others=expand(f"{RESULTS}/tables/{{table}}.csv", table=OTHER_TABLES),
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    conda:
        "../../envs/tools.yaml"
    threads: EVERY
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        results=subpath(output.runs, ancestor=2),
        matrix=MATRIX,
        resamples=config.get("resamples", 1000),
    shell:
        "unrolled compare --results {params.results:q} --matrix {params.matrix:q} --resamples {params.resamples} --threads {threads} "
        "> {log:q} 2>&1"


rule report:
    input:
        tables=rules.compare.output,
        data=expand("results/data/{data}/summary.json", data=CARDS["data"]),
        splits=expand(
            "results/data/{data}/{split}/split.json",
            data=CARDS["data"],
            split=CARDS["split"],
        ),
        certificates=expand(
            "results/data/{data}/{split}/certificate.json",
            data=CARDS["data"],
            split=CARDS["split"],
        ),
        code=[
            *code("report", "verdict", "takeaways", "grids", "wording", "results"),
            *code("plots", "model_plots", "class_plots", "leak_plots", "length_plots", "panels", "looks", "svg"),
            *map(str, sorted(SOURCE.glob("templates/*"))),
        ],
    output:
        page=report(f"{RESULTS}/report.html", category="Report", caption="../report/report.rst"),
        figures=report(
            directory(f"{RESULTS}/figures"),
            patterns=["{data}/{figure}.svg"],
            category="Figures",
            caption="../report/figure.rst",
        ),
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../../envs/tools.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=subpath(output.page, parent=True),
        matrix=MATRIX,
        metric=config["metric"],
    shell:
        "unrolled report --results {params.results:q} --matrix {params.matrix:q} --metric {params.metric} > {log:q} 2>&1"
