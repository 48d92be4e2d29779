"""
An sqlite database with a rollback journal that several programs on several clients write to at the same time.

usage: shared-database.py create DATABASE
       shared-database.py write DATABASE WRITER SECONDS    rows, each in a transaction of its own; prints how many
       shared-database.py check DATABASE                   prints JSON: integrity_check, and the rows of each writer
"""
import json
import sqlite3
import sys
import time

# A program that waits longer than this for the others has failed.
PATIENCE_SECONDS = 60


def connect(path):
    database = sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None)
    # Pages are read again and again, as in a database that is larger than its cache.
    database.execute("PRAGMA cache_size = 20")
    return database


def create(path):
    database = connect(path)
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("CREATE TABLE entry (writer TEXT, number INTEGER, filler TEXT, PRIMARY KEY (writer, number))")
    database.execute("CREATE TABLE account (entries INTEGER)")
    database.execute("INSERT INTO account VALUES (0)")


def write(path, writer, seconds):
    database = connect(path)
    end = time.monotonic() + float(seconds)
    committed = 0
    while committed == 0 or time.monotonic() < end:
        database.execute("BEGIN IMMEDIATE")
        # Both tables agree in every transaction: a page of an older version shows.
        (counted,) = database.execute("SELECT count(*) FROM entry").fetchone()
        (account,) = database.execute("SELECT entries FROM account").fetchone()
        if counted != account:
            sys.exit(f"{writer} sees {counted} entries where there are {account}")
        filler = "x" * (committed * 97 % 2000)
        database.execute("INSERT INTO entry VALUES (?, ?, ?)", (writer, committed, filler))
        database.execute("UPDATE account SET entries = entries + 1")
        database.execute("COMMIT")
        committed += 1
        # sqlite tries again after pauses: without one here, the same writer would get every turn.
        time.sleep(0.005)
    print(committed)


def check(path):
    database = connect(path)
    (integrity,) = database.execute("PRAGMA integrity_check").fetchone()
    # Numbers begin at 0: the highest one tells how many there should be.
    rows = database.execute("SELECT writer, count(*), max(number) + 1 FROM entry GROUP BY writer ORDER BY writer").fetchall()
    print(json.dumps({"integrity": integrity, "rows": rows}))


{"create": create, "write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
