# One run per cell of the matrix, and its metrics.


# The checkpoints are not declared as output: Snakemake would remove them before a run could resume.
rule train:
    input:
        table="results/data/{data}/table.parquet",
        folds="results/data/{data}/{split}/folds.parquet",
        certificate="results/data/{data}/{split}/certificate.json",
        data_card="config/data/{data}.yaml",
        model_card="config/model/{model}.yaml",
        recipe="config/train.yaml",
        code=code(*provenance.NETWORK),
    output:
        predictions=f"{RUN}/predictions.parquet",
        history=f"{RUN}/history.csv",
        steps=f"{RUN}/steps.csv",
        instruments=f"{RUN}/instruments.csv",
        run=f"{RUN}/run.json",
    log:
        f"{LOG}.train.log",
    benchmark:
        BENCHMARK
    wildcard_constraints:
        model=one_of(models_of("neural")),
    group:
        group_of
    conda:
        "../../envs/tools.yaml"
    threads: 1
    resources:
        **OF_RUN,
    params:
        folder=subpath(output.run, parent=True),
        told=TOLD,
        results=subpath(output.run, ancestor=6),
        changes=list(overrides(config.get("train", {}), "train")),
    shell:
        "begin {resources.attempt} {log:q}; "
        "unrolled train data={wildcards.data} split={wildcards.split} model={wildcards.model} "
        "fold={wildcards.fold} seed={wildcards.seed} threads={threads} "
        "paths.table={input.table} paths.folds={input.folds} paths.certificate={input.certificate} "
        "paths.out={params.folder} paths.told={params.told} paths.wandb={params.results} {params.changes:q} "
        ">> {log:q} 2>&1"


rule baseline:
    input:
        table="results/data/{data}/table.parquet",
        folds="results/data/{data}/{split}/folds.parquet",
        certificate="results/data/{data}/{split}/certificate.json",
        data_card="config/data/{data}.yaml",
        model_card="config/model/{model}.yaml",
        code=code(*provenance.BASELINE),
    output:
        predictions=f"{RUN}/predictions.parquet",
        run=f"{RUN}/run.json",
    log:
        f"{LOG}.baseline.log",
    benchmark:
        BENCHMARK
    wildcard_constraints:
        model=one_of(models_of("baseline")),
    group:
        group_of
    conda:
        "../../envs/tools.yaml"
    threads: 1
    resources:
        **OF_RUN,
    params:
        folder=subpath(output.run, parent=True),
        told=TOLD,
        results=subpath(output.run, ancestor=6),
    shell:
        "begin {resources.attempt} {log:q}; "
        "unrolled baseline --table {input.table:q} --folds {input.folds:q} --data-card {input.data_card:q} "
        "--model-card {input.model_card:q} --split {wildcards.split} --fold {wildcards.fold} "
        "--seed {wildcards.seed} --certificate {input.certificate:q} --told {params.told:q} "
        "--wandb {params.results:q} --out {params.folder:q} >> {log:q} 2>&1"


rule evaluate:
    input:
        predictions=f"{RUN}/predictions.parquet",
        run=f"{RUN}/run.json",
        code=code(
            "evaluate",
            "scoring",
            "metrics",
            "areas",
            "number_metrics",
            "likelihood_metrics",
            "position_metrics",
            "sequence_metrics",
            "weighted",
            "thresholds",
            "task",
            "tasks",
            "transduction",
        ),
    output:
        f"{RUN}/metrics.json",
    log:
        f"{LOG}.evaluate.log",
    group:
        group_of
    conda:
        "../../envs/tools.yaml"
    resources:
        **SHARED,
        mem_mb=growing(1000),
        runtime=growing(10),
    shell:
        "begin {resources.attempt} {log:q}; "
        "unrolled evaluate --predictions {input.predictions:q} --run {input.run:q} --out {output:q} "
        ">> {log:q} 2>&1"
