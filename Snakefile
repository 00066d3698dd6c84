from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/wandb.smk"


# Where jobs go to a cluster these stay: they need the internet, or less time than a place in the queue takes.
localrules:
    all,
    fetch,
    query,
    report,


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
