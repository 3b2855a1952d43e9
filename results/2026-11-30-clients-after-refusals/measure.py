#!/usr/bin/env python3
"""What MQTT clients do after a connect that is not served.

Each client runs against a peer of its own on loopback that answers the first three CONNECTs as the row says and serves
the next. `first`: that happens to the first connect of all; `again`: the client was connected, the peer closed, and it
happens to whoever comes back. A client counts as back when a CONNECT of it was served and it stayed for three seconds; it
has given up when it has sent none for PATIENCE seconds.

measure.py COMMANDS.json > raw.txt; COMMANDS.json: {"name": ["program", "argument", ...], ...}, port and version are appended.
"""
import json
import socket
import subprocess
import sys
import threading
import time

REFUSED = 3
PATIENCE = 150


def read_packet(stream):
    first = stream.recv(1)
    if not first:
        return None
    length, shift = 0, 0
    while True:
        byte = stream.recv(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    body = b""
    while len(body) < length:
        more = stream.recv(length - len(body))
        if not more:
            return None
        body += more
    return first[0], body


class Peer:
    def __init__(self, answer, when):
        self.answer, self.when = answer, when
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start = time.monotonic()
        self.last, self.refused, self.levels, self.back = self.start, 0, [], None
        self.was_served = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def connack(self, level, code):
        return bytes([0x20, 3, 0, code, 0]) if level == 5 else bytes([0x20, 2, 0, code])

    def serve(self, stream):
        try:
            self.talk(stream)
        except OSError:
            pass
        stream.close()

    def talk(self, stream):
        packet = read_packet(stream)
        if packet is None or packet[0] != 0x10:
            return
        body = packet[1]
        level = body[2 + body[1]]
        self.last = time.monotonic()
        if self.when == "again" and not self.was_served:
            self.was_served = True
            stream.sendall(self.connack(level, 0))
            stream.settimeout(1)
            self.relay(stream, level, time.monotonic() + 1)
            return
        self.levels.append(level & 0x7F)
        if self.refused < REFUSED:
            self.refused += 1
            if self.answer != "close":
                code = {"3": (3, 0x88), "5": (5, 0x87)}[self.answer][level == 5]
                stream.sendall(self.connack(level, code))
                # The peer's closing follows, as the entry point's does.
                stream.shutdown(socket.SHUT_WR)
                stream.settimeout(2)
                try:
                    while stream.recv(4096):
                        pass
                except OSError:
                    pass
            return
        stream.sendall(self.connack(level, 0))
        came = time.monotonic()
        if self.relay(stream, level, came + 3):
            self.back = came

    def relay(self, stream, level, until):
        """Answers what has to be answered; whether the client stayed."""
        while (left := until - time.monotonic()) > 0:
            stream.settimeout(left)
            try:
                packet = read_packet(stream)
            except TimeoutError:
                return True
            if packet is None or packet[0] >> 4 == 14:
                return False
            kind, body = packet[0] >> 4, packet[1]
            if kind == 8:
                stream.sendall(bytes([0x90, 4]) + body[:2] + b"\0\0" if level == 5 else bytes([0x90, 3]) + body[:2] + b"\0")
            elif kind == 12:
                stream.sendall(b"\xd0\0")
        return True


def run(name, command, version, answer, when, rows):
    peer = Peer(answer, when)
    process = subprocess.Popen(command + [str(peer.port), version], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    threading.Thread(target=lambda: said.extend(process.stdout), daemon=True).start()
    while peer.back is None and time.monotonic() - peer.last < PATIENCE and process.poll() is None:
        time.sleep(0.1)
    code = process.poll()
    process.kill()
    if peer.back is not None:
        verdict = f"back after {peer.back - peer.start:.0f} s"
    elif code is not None:
        verdict = f"the program ended ({code})"
    else:
        verdict = f"silent for {PATIENCE} s"
    levels = " ".join(map(str, peer.levels))
    words = " | ".join(line.strip() for line in said[-40:] if line.strip())[-600:]
    rows.append((name, version, when, answer, f"{verdict}; CONNECTs refused {peer.refused}, levels {levels}; it said: {words}"))


def main():
    commands = json.load(open(sys.argv[1]))
    rows, threads = [], []
    for name, command in commands.items():
        versions = ["3.1.1", "5"] + (["default"] if "paho.mqtt.c" in name else [])
        for version in versions:
            for when in ["first", "again"]:
                for answer in ["close", "3", "5"]:
                    threads.append(threading.Thread(target=run, args=(name, command, version, answer, when, rows)))
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    for row in sorted(rows):
        print("\t".join(row))


main()
