"""Puts so many RADIUS sessions into a registry's database that no engine has open, for the SIMs of fleet.py.

Arguments: sessions, the database.
"""

import sqlite3
import sys
import time

count, path = int(sys.argv[1]), sys.argv[2]
now_ms = int(time.time() * 1000)


def row(number):
    place = number + 256
    address = f"10.{place >> 16}.{place >> 8 & 255}.{place & 255}"
    return address, f"44010{number:010d}", f"{number:016x}", now_ms, now_ms


database = sqlite3.connect(path)
database.execute("DELETE FROM sessions")
database.executemany(
    "INSERT INTO sessions VALUES ('default', ?, 32, ?, '353456789012348', 'radius', '10.0.0.9', ?, '', 'iot.example', ?, ?)",
    map(row, range(count)),
)
database.commit()
