#!/usr/bin/env python3
"""A farm of three replicas at work, and a Prometheus that scrapes it: live.py SHOAL DIRECTORY

Every query of the dashboard has to be answered with data, every rule has to be evaluated without an error, no alert may fire, and
what a replica exposes has to be clean for `promtool check metrics`. Redis is used by an account that may do no more than
docs/operations.md says. Needs redis-server, a MongoDB (SHOAL_TEST_MONGODB_URL, mongod, or SHOAL_TEST_MONGO_SERVER), and
Prometheus.
"""
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

SHOAL, WORK = sys.argv[1], sys.argv[2]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REPLICAS = 3
WORKERS = 60
PASSWORD = "live-test"

processes = []


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(name, command, **more):
    log = open(os.path.join(WORK, name + ".log"), "wb")
    process = subprocess.Popen(command, stdout=more.pop("stdout", log), stderr=log, stdin=more.pop("stdin", subprocess.DEVNULL), **more)
    processes.append((name, process))
    return process


def stop_all():
    for _, process in reversed(processes):
        if process.stdin:
            process.stdin.close()
        if process.poll() is None:
            process.terminate()
    for _, process in processes:
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def until(what, seconds, condition):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for name, process in processes:
            if process.poll() not in (None, 0):
                sys.exit(f"{name} has ended:\n" + tail(name))
        try:
            if condition():
                return
        except (OSError, LookupError, ValueError):
            pass
        time.sleep(0.25)
    sys.exit(f"waited in vain for {what}\n" + "\n".join(tail(name) for name, _ in processes))


def tail(name):
    with open(os.path.join(WORK, name + ".log"), encoding="utf-8", errors="replace") as log:
        return f"-- {name}\n" + "".join(log.readlines()[-15:])


def redis():
    """A Redis, and the address for the account that an operator would make."""
    with open(os.path.join(ROOT, "docs/operations.md"), encoding="utf-8") as file:
        text = " ".join(file.read().split())
    rights = re.search(r"the user needs `~\{PREFIX\}:\*`, `&\{PREFIX\}:\*` .*? and `([^`]*)`", text)[1]
    port = free_port()
    acl = os.path.join(WORK, "users.acl")
    with open(acl, "w", encoding="utf-8") as file:
        file.write("user default off\n")
        file.write(f"user farm on >{PASSWORD} resetkeys resetchannels ~{{shoal}}:* &{{shoal}}:* -@all {rights}\n")
    start("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", WORK,
                    "--maxmemory-policy", "noeviction", "--aclfile", acl])
    until("Redis", 20, lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
    return f"redis://farm:{PASSWORD}@127.0.0.1:{port}"


def mongodb():
    """A MongoDB, or what speaks like one."""
    if os.environ.get("SHOAL_TEST_MONGODB_URL"):
        return os.environ["SHOAL_TEST_MONGODB_URL"]
    if shutil.which("mongod"):
        port = free_port()
        data = os.path.join(WORK, "mongodb")
        os.mkdir(data)
        start("mongodb", ["mongod", "--dbpath", data, "--port", str(port), "--bind_ip", "127.0.0.1", "--quiet"])
        until("MongoDB", 30, lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
        return f"mongodb://127.0.0.1:{port}/?directConnection=true"
    # It ends with its standard input.
    server = start("mongodb", [os.environ["SHOAL_TEST_MONGO_SERVER"], os.path.join(WORK, "database"), "0"],
                   stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    for line in server.stdout:
        if line.startswith(b"listening on "):
            return f"mongodb://{line.decode().split()[-1]}/?directConnection=true"
    sys.exit("the MongoDB-protocol server has ended:\n" + tail("mongodb"))


def main():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SHOAL_")} | {
        "SHOAL_REDIS_URL": redis(),
        "SHOAL_MONGODB_URL": mongodb(),
        "SHOAL_MONGODB_DATABASE": "shoal_test_live_" + os.urandom(6).hex(),
        "SHOAL_GITHUB_API_URL": "none",
        "SHOAL_GITHUB_RAW_URL": "none",
        "SHOAL_USER_PASSWORD": PASSWORD,
        "SHOAL_SIMULATE_PASSWORD": PASSWORD,
        "SHOAL_REQUEST_SLOTS": "16",
    }
    ports = [free_port() for _ in range(REPLICAS)]
    for number, port in enumerate(ports):
        start(f"replica{number}", [SHOAL, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", os.path.join(WORK, f"replica{number}")],
              env=environment)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    until("every replica", 120, lambda: all("true" in get(url + "/readyz") for url in urls))

    def shoal(*args):
        command = [SHOAL, *args, "--data-dir", os.path.join(WORK, "replica0")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            sys.exit(f"{args}: {done.stdout}{done.stderr}")
        return done.stdout

    shoal("user", "add", "author")
    shoal("user", "add", "maintainer", "--approver")
    shoal("user", "add", "volunteer", "--machine-limit", str(10 * WORKERS))
    run = shoal("run", "create", "--elo0", "0.9", "--elo1", "1.1", "--tc", "10+0.1", "--username", "author", "--new-tag", "live",
                "--base-tag", "base", "--resolved-new", "b" * 40, "--resolved-base", "a" * 40, "--msg-new", "new", "--msg-base", "base",
                "--new-signature", "2050812", "--base-signature", "2050811",
                "--tests-repo", "https://github.com/author/Stockfish", "--info", "live").split()[0]
    shoal("run", "approve", run, "--by", "maintainer")

    prometheus = f"http://127.0.0.1:{free_port()}"
    config = os.path.join(WORK, "prometheus.yml")
    with open(config, "w", encoding="utf-8") as file:
        json.dump({  # JSON is YAML.
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
            "rule_files": [os.path.join(ROOT, "helm/shoal/rules/shoal.yaml")],
            "scrape_configs": [{"job_name": "shoal", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}],
        }, file)
    start("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={WORK}/tsdb",
                         f"--web.listen-address={prometheus.removeprefix('http://')}"])

    def ask(path, **parameters):
        return json.loads(get(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", 10))["data"]

    start("fleet", [SHOAL, "simulate", "--url", *urls, "-n", str(WORKERS), "--username", "volunteer", "--speed-up", "60", "--elo", "1",
                    "--fail-rate", "0.02", "--max-seconds", "300", "--audit", "none", "--data-dir", os.path.join(WORK, "fleet")], env=environment)
    until("workers", 60, lambda: float(ask("query", query="max(shoal_farm_workers)")["result"][0]["value"][1]) > 0)
    # Rates want some scrapes.
    until("scrapes", 120,
          lambda: float(ask("query", query="min(count_over_time(shoal_ready[10m]))")["result"][0]["value"][1]) >= 20)

    faults, queries, empty = [], 0, []
    for where, query in dashboard():
        query = query.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$namespace", ".*")
        queries += 1
        try:
            result = ask("query", query=query)["result"]
        except urllib.error.HTTPError as error:
            faults.append(f"{where}: {query}: {error.read().decode()}")
            continue
        numbers = [float(series["value"][1]) for series in result]
        if not numbers:
            faults.append(f"{where}: no data: {query}")
        elif all(math.isnan(number) for number in numbers):
            empty.append(where)
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    for rule in rules:
        if rule["health"] != "ok":
            faults.append(f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
        if rule.get("state") == "firing":
            faults.append(f"rule {rule['name']} fires over a farm that is well: {rule['alerts']}\n{worries()}")
    for url in urls:
        lint = subprocess.run(["promtool", "check", "metrics"], input=get(url + "/metrics"), capture_output=True, text=True, check=False)
        if lint.returncode or lint.stderr.strip():
            faults.append(f"{url}/metrics: {lint.stdout}{lint.stderr}")
    errors = ask("query", query='sum(shoal_redis_errors_total{class="operator"}) + sum(shoal_http_requests_total{outcome="failed"})')
    if float(errors["result"][0]["value"][1]) > 0:
        faults.append("there were errors: does the account of Redis lack a right?\n" + tail("replica0"))
    for fault in faults:
        print(fault, file=sys.stderr)
    quiet = f" ({len(empty)} of them of what has not happened: {', '.join(empty)})" if empty else ""
    if faults:
        return 1
    print(f"{queries} queries answered with data{quiet}, {len(rules)} rules evaluated, none fires, {REPLICAS} replicas' metrics are clean")
    return 0


def worries():
    """What the replicas' logs say of errors."""
    lines = []
    for number in range(REPLICAS):
        with open(os.path.join(WORK, f"replica{number}.log"), encoding="utf-8", errors="replace") as log:
            lines += [f"replica{number}: {line.rstrip()}" for line in log if "ERROR" in line or "invariant" in line]
    return "\n".join(lines[-20:])


def dashboard():
    with open(os.path.join(ROOT, "helm/shoal/dashboards/shoal.json"), encoding="utf-8") as file:
        for panel in json.load(file)["panels"]:
            for target in panel.get("targets", []):
                yield panel["title"], target["expr"]


try:
    code = main()
finally:
    stop_all()
sys.exit(code)
