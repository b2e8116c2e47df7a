"""Publishes to a gateway and looks what each client sees of it, in each content coding. Every event
has to be seen before the next is published, so a client that holds one back fails."""
import http.server
import json
import os
import queue
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODINGS = ["identity", "gzip", "zstd"]
# Stored as they are, compressed, and more than one stored block of gzip.
SIZES = [0, 300, 1_500, 20_000, 70_000]
EVENTS = 20
# How long an event may take: a decoder that holds it back does so for ever.
PATIENCE = 5.0
# Who asks for zstd and reads no second frame that comes after a pause: what `stream.zstd` warns of.
FIRST_FRAME_ONLY = {"Python, httpx", "Python, aiohttp"}
# How long a client has to come up.
START = 60.0


class Gateway:
    """A gateway with one coding on."""

    def __init__(self, binary, coding, work):
        log = work / f"{coding}.log"
        flags = [] if coding == "identity" else [f"--stream-{coding}=true"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [binary, "--public-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0",
                 "--telemetry-log-format=json", "--cors-origins=*", *flags],
                stdout=out, stderr=out)
        until = time.monotonic() + START
        while True:
            found = re.search(r'"public":"([^"]+)","admin":"([^"]+)"', log.read_text())
            if found:
                self.public, self.admin = found.groups()
                return
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit(f"the gateway does not start:\n{log.read_text()}")
            time.sleep(0.05)

    def publish(self, room, body):
        request = urllib.request.Request(
            f"http://{self.public}/v1/sse/events/{room}/types/t",
            json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def sent(self):
        """Bytes of events that were sent, by coding."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=10) as answer:
            page = answer.read().decode()
        found = re.findall(r'^tidegate_sent_bytes_total\{coding="(\w+)"\} (\d+)', page, re.M)
        return {coding: int(count) for coding, count in found}


class Seen:
    """What a client has seen: `open`, numbers of events, `goodbye`."""

    def __init__(self):
        self.queue = queue.Queue()

    def line(self, line):
        if line == "event: tidegate.connected":
            self.queue.put("open")
        elif line == "event: tidegate.goodbye":
            self.queue.put("goodbye")
        elif line.startswith('data: {"message_id"'):
            data = json.loads(line[len("data: "):])["data"]
            self.queue.put(data["n"] if data["pad"] == pad(data["n"]) else "garbage")

    def expect(self, what, patience):
        """The seconds until this was seen next."""
        began = time.monotonic()
        try:
            seen = self.queue.get(timeout=patience)
        except queue.Empty:
            raise Missed(f"{what} is not seen in {patience:.0f} s") from None
        if seen != what:
            raise Missed(f"{seen} instead of {what}")
        return time.monotonic() - began


class Missed(Exception):
    pass


def pad(n):
    """Text that compresses by about a half."""
    state, parts = n + 1, []
    for _ in range(SIZES[n % len(SIZES)] // 5):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        parts.append(f"{state >> 14:05d}")
    return "".join(parts)


class Program:
    """A client that writes the stream to its output, and ends well if the stream does."""

    def __init__(self, words, url, work):
        self.seen = Seen()
        self.errors = tempfile.TemporaryFile(dir=work)
        self.process = subprocess.Popen(
            [*words, url], stdout=subprocess.PIPE, stderr=self.errors)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        rest = b""
        while part := os.read(self.process.stdout.fileno(), 1 << 16):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                self.seen.line(line.decode())

    def expect_end(self):
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Missed("it does not see the end") from None
        if status != 0:
            self.errors.seek(0)
            lines = self.errors.read().decode().strip().splitlines()
            raise Missed(f"ends with {status}: {lines[-1] if lines else ''}")

    def close(self):
        self.process.kill()
        self.process.wait()


class Browser:
    """A browser with a page that tells what its EventSource has."""

    def __init__(self, words, url, work):
        self.seen = Seen()
        PAGES.seen[url] = self.seen
        self.home = tempfile.mkdtemp(dir=work)
        page = f"http://127.0.0.1:{PAGES.server_address[1]}/?{urllib.parse.urlencode({'url': url})}"
        words = [word.replace("HOME", self.home) for word in words]
        self.process = subprocess.Popen(
            [*words, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)

    def expect_end(self):
        """It has said goodbye: a browser does not tell how a stream ended."""

    def close(self):
        # It is several processes, all of this group.
        os.killpg(self.process.pid, 9)
        self.process.wait()


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves the page, and takes what it tells."""

    def do_GET(self):
        self.answer((HERE / "page.html").read_bytes())

    def do_POST(self):
        url = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)["url"][0]
        line = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen[url].line(line)
        self.answer(b"")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


PAGES = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
PAGES.seen = {}


def clients(cache):
    """Name, kind, command and what asks for its version."""
    python = str(cache / "python/bin/python")
    chromium = shutil.which("chromium")
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    yield ("Chromium, EventSource", Browser, chromium and [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--user-data-dir=HOME"], [chromium, "--version"])
    yield ("Firefox, EventSource", Browser, firefox and [
        firefox, "--headless", "--no-remote", "--profile", "HOME"], [firefox, "--version"])
    curl, node = shutil.which("curl"), shutil.which("node")
    yield ("curl --compressed", Program, curl and [curl, "-sSN", "--compressed"],
           [curl, "--version"])
    yield ("Node, fetch", Program, node and [node, str(HERE / "read.mjs")], [node, "--version"])
    yield ("Go, net/http", Program, [str(cache / "go/read")], ["go", "version"])
    for library in ["requests", "httpx", "aiohttp"]:
        yield (f"Python, {library}", Program, [python, str(HERE / "read.py"), library],
               [python, "-c", f"import {library}; print({library}.__version__)"])


def version(words):
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return re.search(r"\d+(\.\d+)+\w*", said)[0]


def read(kind, words, gateway, name, several, work):
    """One stream; returns the seconds that each event took."""
    rooms = [f"{name}-a", f"{name}-b"] if several else [name]
    # A stream of several rooms has ids of its own in front of what all readers share.
    path = "/v1/subscribe?" + "&".join(f"room={room}/t" for room in rooms) if several \
        else f"/v1/subscribe/events/{name}/types/t"
    client = kind(words, f"http://{gateway.public}{path}", work)
    try:
        client.seen.expect("open", START)
        took = []
        for n in range(EVENTS):
            last = n == EVENTS - 1 and not several
            body = {"data": {"n": n, "pad": pad(n)}, "final": last}
            gateway.publish(rooms[n % len(rooms)], body)
            took.append(client.seen.expect(n, PATIENCE))
        if not several:
            client.seen.expect("goodbye", PATIENCE)
            client.expect_end()
        return took
    finally:
        client.close()


def main():
    binary, cache = sys.argv[1], Path(sys.argv[2])
    work = Path(tempfile.mkdtemp())
    threading.Thread(target=PAGES.serve_forever, daemon=True).start()
    failed = False
    gateways = {}
    try:
        for coding in CODINGS:
            gateways[coding] = Gateway(binary, coding, work)
        print(f"| client | version | {' | '.join(CODINGS)} |")
        print("| --- " * (2 + len(CODINGS)) + "|")
        for number, (name, kind, words, asked) in enumerate(clients(cache)):
            if not words:
                failed = True
                print(f"| {name} | not here |" + " – |" * len(CODINGS), flush=True)
                continue
            cells = []
            for coding, gateway in gateways.items():
                before = gateway.sent()
                try:
                    took = read(kind, words, gateway, f"c{number}", False, work)
                    took += read(kind, words, gateway, f"c{number}", True, work)
                except Missed as missed:
                    if coding == "zstd" and name in FIRST_FRAME_ONLY:
                        cells.append("known to stop after a frame")
                        continue
                    failed = True
                    cells.append(f"FAILED: {missed}")
                    continue
                after = gateway.sent()
                got = [c for c in CODINGS if after[c] > before[c]]
                all_of_them = f"{len(took)} of {2 * EVENTS}, {statistics.median(took) * 1e3:.0f} ms"
                if got == [coding]:
                    cells.append(all_of_them)
                elif coding == "zstd" and got == ["identity"]:
                    cells.append("does not ask for it")
                else:
                    failed = True
                    cells.append(f"FAILED: got {got}")
            print(f"| {name} | {version(asked)} | {' | '.join(cells)} |", flush=True)
    finally:
        for gateway in gateways.values():
            gateway.process.kill()
            gateway.process.wait()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(failed)


main()
