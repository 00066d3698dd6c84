"""A real Slurm on loopback, from Debian's packages: munge, one controller, virtual nodes; no root needed.

With accounting a database and slurmdbd are started, too.

PATH=$PATH:/usr/sbin python tests/slurm_cluster.py FOLDER   # starts one, says how to use it, stops it at Ctrl-C
"""

import contextlib
import getpass
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
EXECUTORS = ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_cluster_generic")
ACCOUNTANTS = ("slurmdbd", "sacctmgr", "sacct", "mariadbd", "mariadb-install-db")
NODES = ("n1", "n2")
CONF = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
SlurmctldPidFile={root}/slurmctld.pid
SlurmctldLogFile={root}/slurmctld.log
StateSaveLocation={root}/state
SlurmdPidFile={root}/slurmd.%n.pid
SlurmdLogFile={root}/slurmd.%n.log
SlurmdSpoolDir={root}/spool/%n
SlurmdParameters=config_overrides
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu,shard
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
KillWait=5
ReturnToService=2
MpiDefault=none
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
MinJobAge={forgets}
"""
WITHOUT = "AccountingStorageType=accounting_storage/none\n"
WITH = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={root}/munge/socket
"""
DBD = """
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
DbdAddr=127.0.0.1
DbdHost={host}
DbdPort={port}
SlurmUser={user}
LogFile={root}/slurmdbd.log
PidFile={root}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={user}
StorageLoc=slurm
"""


def missing(programs: tuple[str, ...] = PROGRAMS) -> list[str]:
    """Programs that are not installed."""
    return [name for name in programs if shutil.which(name) is None]


def executors_missing() -> list[str]:
    """Snakemake's executors that are not installed."""
    return [name for name in EXECUTORS if importlib.util.find_spec(name) is None]


def free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    """Daemons that live below a folder of short name (sockets' names may have 107 letters).

    Args:
        root: the folder.
        accounting: whether jobs are kept in a database.
        forgets: seconds after which the controller forgets finished jobs (MinJobAge).
    """

    def __init__(self, root: Path, accounting: bool = False, forgets: int = 300):
        self.root, self.accounting = root, accounting
        for name in ("munge", "state", *(f"spool/{node}" for node in NODES)):
            (root / name).mkdir(parents=True, mode=0o700)
        (root / "munge" / "key").write_bytes(secrets.token_bytes(128))
        (root / "munge" / "key").chmod(0o400)
        host, (port, dbd, self.database, *ports) = socket.gethostname(), free_ports(3 + len(NODES))
        names = {"root": root, "host": host, "user": getpass.getuser()}
        conf = CONF.format(**names, port=port, forgets=forgets)
        conf += WITH.format(root=root, port=dbd) if accounting else WITHOUT
        (root / "slurmdbd.conf").write_text(DBD.format(**names, port=dbd, database=self.database))
        (root / "slurmdbd.conf").chmod(0o600)
        for node, own in zip(NODES, ports, strict=True):
            conf += f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={own} CPUs=4 RealMemory=64000 "
            conf += "Gres=gpu:1,shard:2\n"
        (root / "slurm.conf").write_text(conf)
        (root / "gres.conf").write_text(
            "Name=gpu File=/dev/null\nName=shard Count=2\n"
        )  # a device that is everywhere
        self.env = os.environ | {"SLURM_CONF": str(root / "slurm.conf"), "PATH": f"{root}/bin:{os.environ['PATH']}"}
        self._place_srun()

    def call(self, *command: str) -> str:
        """What a Slurm command says; an error if it fails."""
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    def _place_srun(self) -> None:
        """Jobs call it without the variables of Slurm; where a cluster is installed its file is in /etc."""
        script = self.root / "bin" / "srun"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nSLURM_CONF={self.root}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        script.chmod(0o755)

    def start(self) -> None:
        munge = self.root / "munge"
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self.call("munged", "--force", *(f"--{option}={munge / name}" for option, name in files.items()))
        if self.accounting:
            self.start_accounting()
        self.start_controller()
        for node in NODES:
            self.start_node(node)

    def start_accounting(self) -> None:
        data, user = self.root / "database", getpass.getuser()
        self.call("mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db")
        command = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", f"--port={self.database}"]
        command += ["--bind-address=127.0.0.1", f"--socket={self.root}/sql", "--skip-grant-tables"]
        with (self.root / "database.log").open("w") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log)
        self.until(lambda: "ready for connections" in (self.root / "database.log").read_text())
        self.call("slurmdbd")
        self.until(lambda: self.call("sacctmgr", "--immediate", "add", "cluster", "loop"))

    def start_controller(self) -> None:
        self.call("slurmctld")
        self.until(lambda: " is UP" in self.call("scontrol", "ping"))

    def start_node(self, name: str) -> None:
        self.call("slurmd", "-N", name)
        self.until(lambda: self.state(name) in ("idle", "mixed", "allocated"))

    def state(self, node: str) -> str:
        return self.call("sinfo", "--noheader", "--Node", f"--nodes={node}", "--format=%T").strip()

    def stop_controller(self) -> None:
        os.kill(self._pid("slurmctld"), signal.SIGKILL)

    def cut_power(self, node: str) -> None:
        """Kill a node's daemon and all that runs there, at once: nobody is left to tell the controller."""
        os.kill(self._pid(f"slurmd.{node}"), signal.SIGKILL)
        for pid in self._running_on(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.call("scancel", f"--user={getpass.getuser()}")
            self.until(lambda: not self.call("squeue", "--noheader").strip())
        for name in ("slurmctld", *(f"slurmd.{node}" for node in NODES), "munge/munged"):
            self._end(name)
        if self.accounting:
            self._end("slurmdbd")
            self.server.terminate()
            self.server.wait(60)

    def _end(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(self._pid(name), signal.SIGTERM)

    def jobs(self) -> dict[str, str]:
        """Job -> node, of those that run."""
        lines = self.call("squeue", "--noheader", "--states=running", "--format=%i %N").splitlines()
        return dict(line.split() for line in lines)

    @staticmethod
    def until(condition, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if condition():
                    return
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.2)

    def _pid(self, name: str) -> int:
        path = self.root / ("munge/pid" if name == "munge/munged" else f"{name}.pid")
        return int(path.read_text())

    def _running_on(self, node: str) -> list[int]:
        """Processes of jobs on a node of this cluster, by their environment; first those of Slurm that watch them."""
        wanted = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.root}/slurm.conf".encode()}
        found, watchers = [], set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                    found.append(int(folder.name))
                    parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                    if Path(f"/proc/{parent}/comm").read_text() == "slurmstepd\n":
                        watchers.add(int(parent))
        return [*watchers, *found]


@contextlib.contextmanager
def running(root: Path, **options: Any) -> Iterator[Cluster]:
    """A cluster that is up, and stopped in the end; options are those of `Cluster`."""
    cluster = Cluster(root, **options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


if __name__ == "__main__":
    if absent := missing():
        sys.exit(f"{', '.join(absent)} not found (Debian: apt-get install slurm-wlm munge; PATH=$PATH:/usr/sbin)")
    with running(Path(sys.argv[1]).resolve()) as here, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={here.root}/slurm.conf", flush=True)
        signal.pause()
