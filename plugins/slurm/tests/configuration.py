"""The files and options that make the daemons of Slurm those of a test cluster."""

from __future__ import annotations

CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket.2,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldDebug=info
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/{task}
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
AccountingStoragePass={folder}/munge.socket.2
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerNode=500
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,sched_min_interval=1000,batch_sched_delay=0,default_queue_depth=1000
MinJobAge=300
KillWait=5
WaitTime=0
InactiveLimit=0
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=300
MessageTimeout=5
MaxArraySize=10001
MaxJobCount=10000
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes={name}[1-3] Default=YES MaxTime=INFINITE State=UP
PartitionName=spare Nodes={name}4 MaxTime=INFINITE State=UP
MailProg=/bin/true
"""

NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=256 RealMemory=64000"

ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket.2
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounting}
SlurmUser={user}
DebugLevel=info
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={user}
StorageLoc=accounting
"""

#: It knows no users, so it needs no tables of its own; and what it knows it may lose.
DATABASE = """
--no-defaults --bind-address=127.0.0.1 --skip-grant-tables --skip-name-resolve --skip-log-bin --performance-schema=0
--innodb-buffer-pool-size=32M --innodb-log-file-size=4M --innodb-flush-method=nosync --innodb-doublewrite=0
--debug-no-sync --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 --key-buffer-size=64K
""".split()

CGROUP = """
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainDevices=no
"""
