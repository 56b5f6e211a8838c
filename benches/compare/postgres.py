"""PostgreSQL for as long as the comparison runs: the database of the engines that rewrite SQL for one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

TABLES = {
    "patients": "patient_id bigint, age bigint, sex text, diagnosis text",
    "visits": "visit_id bigint, patient_id bigint, department text, length_of_stay bigint",
}


def program(name: str) -> str | None:
    """Where Debian or the path has it."""
    debian = Path("/usr/lib/postgresql/15/bin") / name
    return str(debian) if debian.exists() else shutil.which(name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def as_owner(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as the user that Debian's package made for it."""
    root = os.getuid() == 0
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command] if root else command


@contextmanager
def server(data: Path) -> Iterator[str | None]:
    """A connection string to a server that has the tables, or None where PostgreSQL is not installed."""
    initdb, pg_ctl, psql = program("initdb"), program("pg_ctl"), program("psql")
    if initdb is None or pg_ctl is None or psql is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="kanon-compare-postgres-"))
    folder.chmod(0o777)
    cluster, port = str(folder / "cluster"), free_port()

    def run(command: list[str], **more) -> None:
        subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)

    def say(sql: str, text=subprocess.DEVNULL) -> None:
        command = [psql, "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-U", "super", "-c", sql]
        subprocess.run([*command, "postgres"], check=True, stdin=text, stdout=subprocess.DEVNULL)

    started = False
    try:
        settings = ["--auth=trust", "--username=super", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        run(as_owner([initdb, *settings, "--pgdata", cluster]))
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
            " -c shared_buffers=1GB -c work_mem=256MB -c max_wal_size=4GB"
        )
        start = [pg_ctl, "start", "--wait", "--silent", "--options", options, "--log", str(folder / "log")]
        run(as_owner([*start, "--pgdata", cluster]))
        started = True
        for table, columns in TABLES.items():
            say(f"CREATE TABLE {table} ({columns})")
            with open(data / f"{table}.csv", "rb") as rows:
                say(f"COPY {table} FROM STDIN WITH (FORMAT csv, HEADER)", rows)
            say(f"VACUUM ANALYZE {table}")
        yield f"host=127.0.0.1 port={port} user=super dbname=postgres"
    finally:
        if started:
            stop = [pg_ctl, "stop", "--silent", "--mode", "immediate", "--pgdata", cluster]
            subprocess.run(as_owner(stop), cwd="/", stdin=subprocess.DEVNULL)
        # What another user made there, that user must remove.
        subprocess.run(as_owner(["rm", "-rf", cluster, str(folder / "log")]), cwd="/")
        folder.rmdir()
