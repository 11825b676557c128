#!/usr/bin/env python3
"""Does what the chart's Jobs do, beside a server on an embedded database: backups.py SHOAL DATA WORK < MANIFESTS

The containers' own commands are carried out one after the other, with directories in the place of volumes: several copies, of which
the last are kept, and the test of a restoration. Of the Jobs for MongoDB, whose tools aren't here, only the shell's
syntax is looked at, and that the indexes which they look for are the schema's.
"""
import glob
import json
import os
import re
import subprocess
import sys
import time

import yaml

SHOAL, DATA, WORK = sys.argv[1:4]
KEEP = 3


def job(documents, name):
    found = [document for document in documents if document["kind"] == "CronJob" and document["metadata"]["name"].endswith(name)]
    return found[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def carry_out(pod, number):
    places = {"/data": DATA}
    for volume in ("backup", "scratch", "tmp"):
        places[f"/{volume}"] = os.path.join(WORK, volume)
        os.makedirs(places[f"/{volume}"], exist_ok=True)

    def placed(text):
        return re.sub(r"(?<![\w/.])/(data|backup|scratch|tmp)\b", lambda match: places[match[0]], text)

    for container in pod.get("initContainers", []) + pod["containers"]:
        environment = {"PATH": os.environ["PATH"]}
        for variable in container.get("env", []):
            value = variable.get("value", f"pod-{number}")
            environment[variable["name"]] = placed(value)
        args = [re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], placed(arg)) for arg in container.get("args", [])]
        command = container.get("command") or [SHOAL]
        done = subprocess.run([*command, *args], env=environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            sys.exit(f"{container['name']}: {done.stdout}{done.stderr}")


def indexes(script):
    there = set()
    for path in glob.glob("migrations/mongo/*.json"):
        with open(path, encoding="utf-8") as file:
            there |= {f"{index['collection']}.{index['name']}" for index in json.load(file)["indexes"]}
    wanted = set(json.loads(re.search(r"wanted = (\[[^]]*\])", script)[1]))
    if not wanted or wanted - there:
        sys.exit(f"the restored schema is looked at for {sorted(wanted - there) or 'nothing'}, which no step makes")


def main():
    documents = [document for document in yaml.safe_load_all(sys.stdin) if document]
    kept = os.path.join(WORK, "backup")
    if "mongodump" in str(documents):
        for name in ("-backup", "-restore-test"):
            for container in job(documents, name).get("initContainers", []) + job(documents, name)["containers"]:
                if container.get("command", [""])[0] == "bash":
                    subprocess.run(["bash", "-n", "-c", container["args"][0]], check=True)
                if container["name"] == "indexes":
                    indexes(container["args"][0])
        return
    os.makedirs(kept)
    with open(os.path.join(kept, "pod-before.partial"), "w", encoding="utf-8"):
        pass  # What a Job that was killed left behind.
    names = []
    for number in range(KEEP + 2):
        carry_out(job(documents, "-backup"), number)
        names.append(max(os.listdir(kept)))
        time.sleep(1.1)  # A name a second.
    if sorted(os.listdir(kept)) != names[-KEEP:]:
        sys.exit(f"{names[-KEEP:]} should have been kept, but there are {os.listdir(kept)}")
    carry_out(job(documents, "-restore-test"), "restore")
    print(f"{KEEP} of {KEEP + 2} copies are kept, and the newest was restored")


main()
