# What wandb recorded -> its server. Asked for by name; nothing else needs a network.
localrules:
    wandb_sync,


rule wandb_sync:
    input:
        # Asked for alone it trains nothing, and uploads what is there; beside `all` it comes after the runs.
        lambda w: from_runs("run.json") if "all" in workflow.dag_settings.targets else [],
    log:
        f"{RESULTS}/logs/wandb_sync.log",
    conda:
        "../../envs/tools.yaml"
    params:
        folder=f"{RESULTS}/wandb",
        entity=WANDB["entity"] or "",
        matrix=MATRIX,
    shell:
        "unrolled sync {params.folder:q} --entity={params.entity:q} --matrix {params.matrix:q} 2>&1 | tee {log:q} >&2"
