#!/usr/bin/env python3
"""Measures single settings in two network namespaces of its own, `tundev` (devices, 10.64.0.1) and
`tunhost` (the host, 10.9.0.2), joined by a veth pair. Nothing outside of them is changed.

    sudo ./measure.py NAME...      names: idle small stalled accept syn ports fill bulk timewait clock cpu session
    RINGBEAM=path/to/ringbeam      for `cpu` and `session`

Every result is one line of JSON on standard output."""

import json, os, random, re, resource, select, shutil, socket, statistics, struct, subprocess, sys
import tempfile, threading, time
from ctypes import CDLL

DEVICE, HOST = "10.64.0.1", "10.9.0.2"


def run(command, check=True):
    return subprocess.run(command, shell=True, check=check, text=True, capture_output=True).stdout


def begin():
    end()
    run(f"""ip netns add tundev && ip netns add tunhost &&
        ip link add tun0 netns tundev type veth peer name tun0 netns tunhost &&
        ip -n tundev addr add 10.9.0.1/24 dev tun0 && ip -n tunhost addr add {HOST}/24 dev tun0 &&
        ip -n tunhost addr add 10.9.0.3/24 dev tun0 &&
        ip -n tundev link set tun0 up && ip -n tunhost link set tun0 up &&
        ip -n tundev link set lo up && ip -n tunhost link set lo up &&
        ip -n tundev route add local 10.64.0.0/12 dev lo &&
        ip -n tunhost route add 10.64.0.0/12 via 10.9.0.1""")


def end():
    run("ip netns del tundev; ip netns del tunhost", check=False)


def sysctl(namespace, **values):
    for name, value in values.items():
        path = "/proc/sys/net/" + name.replace("__", "/")
        run(f"ip netns exec {namespace} sh -c 'echo {value} > {path}'")


def enter(namespace):
    with open(f"/run/netns/{namespace}") as file:
        if CDLL(None).setns(file.fileno(), 0):
            raise OSError("setns")


def child(namespace, body):
    """Runs body(say, hear) in a process inside the namespace; returns (process id, hear, say)."""
    (here_r, there_w), (there_r, here_w) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            enter(namespace)
            resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
            hear, say = os.fdopen(there_r), os.fdopen(there_w, "w", 1)
            body(lambda value: say.write(json.dumps(value) + "\n"), lambda: json.loads(hear.readline()))
            status = 0
        except BaseException as error:
            print("child:", repr(error), file=sys.stderr)
        finally:
            os._exit(status)
    os.close(there_r), os.close(there_w)
    hear, say = os.fdopen(here_r), os.fdopen(here_w, "w", 1)
    return pid, lambda: json.loads(hear.readline()), lambda value: say.write(json.dumps(value) + "\n")


def report(experiment, **values):
    print(json.dumps({"experiment": experiment, **values}), flush=True)


def meminfo(name):
    return int(re.search(rf"^{name}:\s+(\d+)", open("/proc/meminfo").read(), re.M)[1]) * 1024


def tcp_pages():
    return int(re.search(r"^TCP:.* mem (\d+)", open("/proc/net/sockstat").read(), re.M)[1])


def listener(address, port, backlog=4096):
    server = socket.create_server((address, port), backlog=backlog, reuse_port=True)
    return server


def keep(server, kept):
    while True:
        kept.append(server.accept()[0])


def holder(count):
    """A server that accepts `count` connections, keeps them, and ends when told to."""
    def body(say, hear):
        server, kept = listener(HOST, 1883), []
        say("ready")
        while len(kept) < count:
            kept.append(server.accept()[0])
        say("accepted")
        while (order := hear()) != "end":
            if order == "read":
                for connection in kept:
                    connection.setblocking(False)
                    try:
                        while connection.recv(65536):
                            pass
                    except BlockingIOError:
                        pass
                say("read")
    return body


def connected(count, act=None):
    """Connects `count` devices and yields around them."""
    server, hear, say = child("tunhost", holder(count))
    hear()

    def body(tell, listen):
        sockets = []
        for number in range(count):
            device = socket.socket()
            device.bind((f"10.64.{number >> 8 & 255}.{number & 255 or 1}", 0))
            device.connect((HOST, 1883))
            sockets.append(device)
        tell("connected")
        while (order := listen()) != "end":
            act(sockets, order)
            tell("done")
    device, hear_device, say_device = child("tundev", body)
    hear_device(), hear()
    return (server, hear, say), (device, hear_device, say_device)


def finish(*children):
    for pid, _, say in children:
        say("end")
        os.waitpid(pid, 0)


def quiet():
    """Memory once the kernel has freed what it frees late."""
    time.sleep(2)
    return meminfo("Slab"), tcp_pages()


def idle():
    count = 4000
    for rmem, wmem in [("4096 131072 33554432", "4096 16384 4194304"), ("4096 16384 1048576", "4096 4096 262144")] * 2:
        begin()
        for namespace in ("tundev", "tunhost"):
            sysctl(namespace, ipv4__tcp_rmem=f'"{rmem}"', ipv4__tcp_wmem=f'"{wmem}"')
        slab, pages = quiet()
        children = connected(count)
        slab_with, pages_with = quiet()
        report("idle", tcp_rmem=rmem, tcp_wmem=wmem, sockets=2 * count,
               slab_bytes_per_socket=round((slab_with - slab) / count / 2), tcp_pages=pages_with - pages)
        finish(*children)
        end()


def small():
    """Pages that TCP counts while one 64-byte message waits unread in every receiver."""
    count = 4000
    begin()
    before = quiet()[1]
    children = connected(count, lambda sockets, _: [s.send(b"x" * 64) for s in sockets])
    idle_pages = quiet()[1] - before
    children[1][2]("send"), children[1][1]()
    unread = quiet()[1] - before
    children[0][2]("read"), children[0][1]()
    report("small", sockets=2 * count, pages_idle=idle_pages, pages_one_message_unread=unread, pages_after_reading=quiet()[1] - before)
    finish(*children)
    end()


def queued(namespace):
    text = run(f"ip netns exec {namespace} ss -tnmH state established")
    fields = re.findall(r"skmem:\(r(\d+),rb(\d+),t(\d+),tb(\d+),f(\d+),w(\d+)", text)
    return {"received": sum(int(f[0]) for f in fields) // len(fields), "to_send": sum(int(f[5]) for f in fields) // len(fields)}


def stalled():
    count = 200

    def fill(sockets, _):
        for s in sockets:
            s.setblocking(False)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            for s in sockets:
                try:
                    while s.send(b"x" * 16384):
                        pass
                except BlockingIOError:
                    pass
            time.sleep(0.02)
    # The devices' side sends and the host's does not read: `to_send` is what a host that sends would hold.
    for name, values in [("defaults", {}), ("tcp_notsent_lowat=16384", {"ipv4__tcp_notsent_lowat": 16384}),
                         ("tcp_notsent_lowat=131072", {"ipv4__tcp_notsent_lowat": 131072}),
                         ("tcp_rmem default 16384", {"ipv4__tcp_rmem": '"4096 16384 33554432"'}),
                         ("tcp_wmem max 262144", {"ipv4__tcp_wmem": '"4096 16384 262144"'})]:
        begin()
        run("ip netns exec tundev ethtool -K tun0 tso off gso off", check=False)
        for namespace in ("tundev", "tunhost"):
            sysctl(namespace, ipv4__tcp_rmem='"4096 131072 33554432"', ipv4__tcp_wmem='"4096 16384 4194304"', ipv4__tcp_congestion_control="reno")
            sysctl(namespace, **values)
        before = tcp_pages()
        children = connected(count, fill)
        children[1][2]("fill"), children[1][1]()
        held, host = queued("tundev"), queued("tunhost")
        report("stalled", setting=name, sockets_per_side=count, bytes_held_by_sender=held["to_send"],
               bytes_held_by_receiver=host["received"], tcp_pages_per_pair=round((tcp_pages() - before) / count, 1))
        finish(*children)
        end()


def netstat(namespace, name):
    lines = run(f"ip netns exec {namespace} cat /proc/net/netstat").splitlines()
    table = dict(zip(lines[0].split(), lines[1].split()))
    return int(table[name])


def accept():
    """6,000 devices connect at once to a listener whose process is busy for 300 ms."""
    count = 6000
    for somaxconn, backlog in [(128, 4096), (1024, 4096), (4096, 4096), (65535, 4096), (65535, 65535)]:
        begin()
        sysctl("tunhost", core__somaxconn=somaxconn)

        def server(say, hear):
            sock, kept = listener(HOST, 1883, backlog), []
            say("ready"), hear()
            time.sleep(0.3)
            threading.Thread(target=keep, args=(sock, kept), daemon=True).start()
            hear()

        def devices(say, hear):
            poll, open_sockets = select.poll(), {}
            hear()
            start = time.monotonic()
            for number in range(count):
                device = socket.socket()
                device.bind((f"10.64.{number >> 8}.{number & 255 or 1}", 0))
                device.setblocking(False)
                device.connect_ex((HOST, 1883))
                open_sockets[device.fileno()] = device
                poll.register(device, select.POLLOUT)
            times, left = [], count
            while left and (ready := poll.poll(10000)):
                for descriptor, _ in ready:
                    poll.unregister(descriptor)
                    left -= 1
                    times.append(time.monotonic() - start)
            say([sum(t < 0.95 for t in times), max(times), left]), hear()
        one, two = child("tunhost", server), child("tundev", devices)
        one[1]()
        two[2]("go"), one[2]("go")
        within, last, left = two[1]()
        report("accept", somaxconn=somaxconn, backlog=backlog, devices=count, connected_before_first_retry=within,
               last_connected_s=round(last, 2), never_connected=left, listen_overflows=netstat("tunhost", "ListenOverflows"))
        finish(one, two)
        end()


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def syn():
    """3,000 half-open connections from addresses that never answer, then 200 real ones."""
    for cookies, backlog in [(1, 128), (1, 4096), (0, 128), (0, 4096)]:
        begin()
        sysctl("tunhost", ipv4__tcp_syncookies=cookies, ipv4__tcp_max_syn_backlog=backlog, core__somaxconn=4096)

        def server(say, hear):
            sock = listener(HOST, 1883)
            say("ready"), hear()

        def flood(say, hear):
            run("ip route del local 10.64.0.0/12 dev lo; ip addr add 10.9.0.77/24 dev tun0")
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            target = socket.inet_aton(HOST)
            for number in range(3000):
                source = struct.pack("!BBH", 10, 70, number)
                tcp = struct.pack("!HHLLBBHHHBBH", 5000 + number, 1883, number, 0, 0x60, 2, 64240, 0, 0, 2, 4, 1460)
                pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp))
                tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
                ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), number, 0, 64, 6, 0, source, target)
                raw.sendto(ip + tcp, (HOST, 0))
            time.sleep(0.2)
            say("flooded"), hear()
            poll, devices, good = select.poll(), [], 0
            for number in range(200):
                device = socket.socket()
                device.setblocking(False)
                device.connect_ex((HOST, 1883))
                poll.register(device, select.POLLOUT)
                devices.append(device)
            until = time.monotonic() + 0.8
            while time.monotonic() < until:
                for descriptor, event in poll.poll(100):
                    good += not event & select.POLLERR
                    poll.unregister(descriptor)
            say(good), hear()
        run("ip -n tunhost route add 10.70.0.0/16 via 10.9.0.1")
        one = child("tunhost", server)
        one[1]()
        two = child("tundev", flood)
        two[1]()
        half = len(run("ip netns exec tunhost ss -tnH state syn-recv").splitlines())
        two[2]("go")
        report("syn", tcp_syncookies=cookies, tcp_max_syn_backlog=backlog, half_open=half, real_ones_connected_of_200=two[1](),
               cookies_sent=netstat("tunhost", "SyncookiesSent"))
        finish(one, two)
        end()


def follow(server, _):
    """Closes each connection after its peer has."""
    while True:
        connection = server.accept()[0]
        connection.recv(1)
        connection.close()


def upstream_server(serve=keep):
    """The upstream, in the devices' namespace; the host connects to it."""
    def body(say, hear):
        server = listener("10.9.0.1", 8883)
        say("ready")
        threading.Thread(target=serve, args=(server, []), daemon=True).start()
        hear()
    upstream = child("tundev", body)
    upstream[1]()
    return upstream


def ports():
    for sources in ([None], ["10.9.0.2"], ["10.9.0.2", "10.9.0.3"]):
        for late in ([True, False] if sources[0] else [True]):
            begin()
            sysctl("tunhost", ipv4__ip_local_port_range='"40000 40199"')
            upstream = upstream_server()

            def body(say, hear):
                held = []
                for source in sources:
                    try:
                        while True:
                            sock = socket.socket()
                            if source:
                                if late:
                                    sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                                sock.bind((source, 0))
                            sock.connect(("10.9.0.1", 8883))
                            held.append(sock)
                    except OSError as error:
                        name = error.strerror
                say([len(held), name]), hear()
            client = child("tunhost", body)
            held, name = client[1]()
            report("ports", ports=200, source_addresses=len(sources) if sources[0] else 0, bind_without_port=late, connections=held, then=name)
            finish(client, upstream)
            end()


def fill():
    """What connect() costs as the ports of one source and destination fill up."""
    low, high = 40000, 55999
    for own_range in (False, True):
        begin()
        sysctl("tunhost", ipv4__ip_local_port_range=f'"{low} {high}"')
        upstream = upstream_server()

        def body(say, hear):
            held, costs = [], []
            for _ in range(15990):
                sock = socket.socket()
                sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                if own_range:
                    sock.setsockopt(socket.IPPROTO_IP, 51, struct.pack("I", high << 16 | low))  # IP_LOCAL_PORT_RANGE
                sock.bind(("10.9.0.2", 0))
                start = time.process_time_ns()
                sock.connect(("10.9.0.1", 8883))
                costs.append((time.process_time_ns() - start) / 1000)
                held.append(sock)
            say(costs), hear()
        client = child("tunhost", body)
        costs = client[1]()
        for first, last in [(0, 10), (40, 50), (50, 60), (80, 90), (90, 95), (95, 99), (99, 100)]:
            part = sorted(costs[len(costs) * first // 100:len(costs) * last // 100])
            report("fill", ports=16000, option_ip_local_port_range=own_range, filled_percent=[first, last],
                   connect_cpu_us_median=round(statistics.median(part), 1), connect_cpu_us_p99=round(part[len(part) * 99 // 100], 1))
        finish(client, upstream)
        end()


def bulk():
    """What the buffers' bounds cost one connection that sends as much as it can."""
    rmem = '"4096 131072 33554432"'
    settings = [("defaults", {}), ("tcp_rmem default 16384", {"ipv4__tcp_rmem": '"4096 16384 33554432"'}),
                ("tcp_notsent_lowat=16384", {"ipv4__tcp_notsent_lowat": 16384}),
                ("tcp_notsent_lowat=131072", {"ipv4__tcp_notsent_lowat": 131072})]
    for number in range(3):
        for name, values in random.Random(number).sample(settings, len(settings)):
            begin()
            for namespace in ("tundev", "tunhost"):
                sysctl(namespace, ipv4__tcp_rmem=rmem, ipv4__tcp_congestion_control="reno")
                sysctl(namespace, **values)

            def server(say, hear):
                sock = listener(HOST, 1883)
                say("ready")
                connection, total = sock.accept()[0], 0
                while data := connection.recv(65536):
                    total += len(data)
                say(total), hear()

            def sender(say, hear):
                device, until, start = socket.create_connection((HOST, 1883)), time.monotonic() + 1.5, time.process_time()
                while time.monotonic() < until:
                    device.send(b"x" * 16384)
                device.close()
                say(time.process_time() - start), hear()
            one = child("tunhost", server)
            one[1]()
            two = child("tundev", sender)
            used, total = two[1](), one[1]()
            report("bulk", setting=name, round=number, mib_per_s=round(total / 1.5 / 2**20), sender_cpu_us_per_mib=round(used * 1e6 / (total / 2**20)))
            finish(one, two)
            end()


def timewait():
    """Connections that can be opened and closed (by us) in 5 s with 200 ports."""
    for reuse in (0, 2, 1):
        begin()
        sysctl("tunhost", ipv4__ip_local_port_range='"40000 40199"', ipv4__tcp_tw_reuse=reuse)
        upstream = upstream_server(follow)

        def body(say, hear):
            good = bad = 0
            until = time.monotonic() + 5
            while time.monotonic() < until:
                sock = socket.socket()
                try:
                    sock.connect(("10.9.0.1", 8883))
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(1)
                    good += 1
                except OSError:
                    bad += 1
                    time.sleep(0.005)
                sock.close()
            say([good, bad]), hear()
        client = child("tunhost", body)
        good, bad = client[1]()
        report("timewait", tcp_tw_reuse=reuse, ports=200, seconds=5, connected=good, refused=bad)
        finish(client, upstream)
        end()


def clock():
    code = r"""
    #include <stdio.h>
    #include <time.h>
    #include <unistd.h>
    #include <sys/syscall.h>
    static double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec*1e9+t.tv_nsec;}
    int main(void){struct timespec t;int n=2000000;double a=now();for(int i=0;i<n;i++)clock_gettime(CLOCK_MONOTONIC,&t);
    double b=now();for(int i=0;i<n;i++)syscall(SYS_clock_gettime,CLOCK_MONOTONIC,&t);double c=now();
    printf("%.1f %.1f\n",(b-a)/n,(c-b)/n);}"""
    folder = tempfile.mkdtemp()
    open(f"{folder}/c.c", "w").write(code)
    run(f"cc -O2 -o {folder}/c {folder}/c.c")
    for _ in range(3):
        vdso, call = run(f"{folder}/c").split()
        source = open("/sys/devices/system/clocksource/clocksource0/current_clocksource").read().strip()
        report("clock", clocksource=source, ns_through_vdso=float(vdso), ns_as_system_call=float(call))
    shutil.rmtree(folder)


def connect_packet(name):
    body = b"\0\4MQTT\4\2\0\0" + struct.pack("!H", len(name)) + name
    return bytes([0x10, len(body)]) + body


def read_packet(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def cpu_ns(pid):
    return sum(int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0]) for task in os.listdir(f"/proc/{pid}/task"))


def ringbeam():
    """A ringbeam on processor 0 of `tunhost`, with its upstream at 10.9.0.1:8883; its folder and process."""
    folder = tempfile.mkdtemp()
    open(f"{folder}/ringbeam.toml", "w").write(
        '[[listener]]\nnetwork="default"\naddress="10.9.0.2:1883"\n[engine]\nshards=1\n')
    open(f"{folder}/fleet.json", "w").write(json.dumps({
        "groups": [{"groupId": "g", "configuration": {"SoracomBeam": {"mqtt://beam.soracom.io:1883": {
            "name": "n", "enabled": True, "destination": "mqtt://10.9.0.1:8883", "addSubscriberHeader": True}}}}],
        "simRanges": [{"network": "default", "cidr": "10.64.0.0/16", "imsiBase": "440100000000000",
                       "simIdBase": "8981100000000000000", "groupId": "g"}]}))
    serve = subprocess.Popen(["ip", "netns", "exec", "tunhost", "taskset", "-c", "0", os.environ["RINGBEAM"], "--log", "error",
                              "serve", "--config", f"{folder}/ringbeam.toml"], stdout=subprocess.PIPE, text=True)
    assert serve.stdout.readline().startswith("ready")
    return folder, serve


def resident(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M)[1]) * 1024


def session():
    """Memory of an idle session in ringbeam, and in the kernel for all four sockets of both sides."""
    begin()
    folder, serve = ringbeam()
    slab, before = quiet()[0], resident(serve.pid)
    for count in (2000, 4000, 8000):
        def both(say, hear):
            server, kept = listener("10.9.0.1", 8883), []
            for number in range(count):
                device = socket.socket()
                device.bind((f"10.64.{number >> 7}.{number & 127 or 1}", 0))
                device.connect((HOST, 1883))
                device.send(connect_packet(b"d%d" % number))
                upstream = server.accept()[0]
                upstream.recv(1000)
                upstream.send(b"\x20\2\0\0")
                read_packet(device, 4)
                kept.append((device, upstream))
            say(len(kept)), hear()
        pair = child("tundev", both)
        pair[1]()
        now = quiet()[0]
        report("session", sessions=count, resident_bytes_per_session=round((resident(serve.pid) - before) / count),
               slab_bytes_per_session_four_sockets=round((now - slab) / count))
        finish(pair)
        time.sleep(3)
    serve.terminate()
    serve.wait()
    shutil.rmtree(folder)
    end()


def cpu():
    """CPU of ringbeam for a message of 64 bytes, 1 and 32 under way, under one setting after the other."""
    track = ("table inet t { chain c { type filter hook prerouting priority 0; ct state established counter; }; "
             "chain o { type filter hook output priority 0; ct state established counter; }; }")
    notrack = track[:-1] + (" chain n { type filter hook prerouting priority raw; tcp dport {1883,8883} notrack; tcp sport {1883,8883} notrack; }; "
                            "chain m { type filter hook output priority raw; tcp dport {1883,8883} notrack; tcp sport {1883,8883} notrack; }; }")
    settings = [("cubic", None), ("bbr", None), ("reno", None), ("cubic", "track"), ("cubic", "notrack")]
    for round_number in range(int(os.environ.get("ROUNDS", "5"))):
        order = settings[:]
        random.Random(round_number).shuffle(order)
        for control, rules in order:
            begin()
            # By route: a namespace may not make every algorithm its default.
            run(f"ip -n tundev route change 10.9.0.0/24 dev tun0 congctl {control} &&"
                f"ip -n tunhost route change 10.9.0.0/24 dev tun0 congctl {control} &&"
                f"ip -n tunhost route change 10.64.0.0/12 via 10.9.0.1 congctl {control}")
            if rules:
                text = track if rules == "track" else notrack
                subprocess.run(["ip", "netns", "exec", "tunhost", "nft", "-f", "-"], input=text, text=True, check=True)
            folder, serve = ringbeam()

            def both(say, hear):
                os.sched_setaffinity(0, {1})
                server = listener("10.9.0.1", 8883)
                device = socket.socket()
                device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                device.bind(("10.64.0.7", 0))
                device.connect((HOST, 1883))
                device.send(connect_packet(b"d"))
                upstream = server.accept()[0]
                upstream.recv(1000)
                upstream.send(b"\x20\2\0\0")
                read_packet(device, 4)
                message = b"\x30\x4c\0\x0asensors/ab" + b"p" * 64
                arrives = len(message) + 16
                for batch, count in [(1, 10000), (32, 60000)]:
                    start = cpu_ns(serve.pid)
                    for _ in range(count // batch):
                        for _ in range(batch):
                            device.send(message)
                        read_packet(upstream, arrives * batch)
                    say((cpu_ns(serve.pid) - start) / count / 1000)
                hear()
            pair = child("tundev", both)
            one, many = pair[1](), pair[1]()
            tracked = run("ip netns exec tunhost cat /proc/sys/net/netfilter/nf_conntrack_count", check=False).strip()
            report("cpu", round=round_number, congestion_control=control, conntrack=rules or "off", entries=tracked,
                   cpu_us_per_message_1=round(one, 2), cpu_us_per_message_32=round(many, 2))
            finish(pair)
            serve.terminate()
            serve.wait()
            shutil.rmtree(folder)
            end()


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            globals()[name]()
    finally:
        end()
