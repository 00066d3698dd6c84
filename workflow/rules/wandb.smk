# What wandb recorded -> its server. Asked for by name; nothing else needs a network.
localrules:
    wandb_sync,


rule wandb_sync:
    input:
        from_runs("run.json"),
    log:
        f"{RESULTS}/logs/wandb_sync.log",
    conda:
        "../../envs/tools.yaml"
    params:
        folder=f"{RESULTS}/wandb",
        entity=WANDB["entity"] or "",
    shell:
        "unrolled sync {params.folder:q} --entity={params.entity:q} 2>&1 | tee {log:q} >&2"
