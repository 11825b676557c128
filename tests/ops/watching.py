#!/usr/bin/env python3
"""What must agree: the dashboard, the alerts, their tests and sections, the catalogue of metrics, the chart's settings.

watching.py dashboard | alerts | metrics | settings
"""
import json
import re
import sys

import yaml

DASHBOARD = "helm/shoal/dashboards/shoal.json"
RULES = "helm/shoal/rules/shoal.yaml"
TESTS = "tests/ops/rules.yaml"
RUNBOOK = "docs/operations.md"
METRICS = "docs/metrics.md"
README = "README.md"
SCHEMA = "helm/shoal/values.schema.json"

# What the chart sets by itself.
OWN_SETTINGS = {"listen", "data_dir", "redis_url", "mongodb_url", "github_token", "drain_period", "shutdown_grace"}
# Prometheus' own.
FOREIGN_METRICS = {"up", "ALERTS"}

faults = []


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def panels():
    return [panel for panel in json.loads(read(DASHBOARD))["panels"] if panel["type"] != "row"]


def rules():
    return [rule for group in yaml.safe_load(read(RULES))["groups"] for rule in group["rules"]]


def dashboard():
    """Each panel has a query, a unit and room of its own."""
    cells, ids = set(), set()
    for panel in panels():
        title = panel["title"]
        if not panel.get("targets") or not all(target.get("expr", "").strip() for target in panel["targets"]):
            faults.append(f"{title}: has no query")
        if not panel["fieldConfig"]["defaults"].get("unit"):
            faults.append(f"{title}: has no unit")
        if panel["id"] in ids:
            faults.append(f"{title}: its number is another panel's")
        ids.add(panel["id"])
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if own & cells or at["x"] + at["w"] > 24:
            faults.append(f"{title}: lies over another panel")
        cells |= own
    return f"{len(ids)} panels"


def alerts():
    """Each alert has series for which it fires and doesn't, a section, and somebody whom it concerns."""
    named = [rule for rule in rules() if "alert" in rule]
    tests = yaml.safe_load(read(TESTS))["tests"]
    checks = [check for test in tests for check in test.get("promql_expr_test", [])]
    sections = set(re.findall(r"^### (\w+)$", read(RUNBOOK), re.M))
    for rule in named:
        name = rule["alert"]
        own = [check for check in checks if f'alertname="{name}"' in check["expr"]]
        if not any(check["exp_samples"] for check in own):
            faults.append(f"{name}: no series makes it fire")
        if not any(not check["exp_samples"] for check in own):
            faults.append(f"{name}: no series keeps it silent")
        if name not in sections:
            faults.append(f"{name}: {RUNBOOK} has no section")
        if rule["annotations"].get("runbook_url") != f"{RUNBOOK}#{name.lower()}":
            faults.append(f"{name}: runbook_url isn't its section's")
        if rule["labels"].get("severity") not in ("critical", "warning"):
            faults.append(f"{name}: its severity is neither critical nor warning")
        if not rule["annotations"].get("summary") or not rule["annotations"].get("description"):
            faults.append(f"{name}: says nothing")
    for section in sections - {rule["alert"] for rule in named}:
        if section.startswith("Shoal"):
            faults.append(f"{RUNBOOK}: {section} is no alert")
    return f"{len(named)} alerts"


def catalogue():
    """Names of metrics with their kind and labels."""
    known = {}
    for line in read(METRICS).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.fullmatch(r"`(\w+)`", cells[0])
        if not name or len(cells) < 5:
            continue
        labels = dict(re.findall(r"`(\w+)`: ([^;]*)", cells[3]))
        values = {label: set(re.findall(r"`([^`]*)`", text)) for label, text in labels.items()}
        suffixes = ("_bucket", "_sum", "_count") if cells[1] == "histogram" else ("",)
        for suffix in suffixes:
            known[name[1] + suffix] = values
    return known


def used():
    """Where each query is, and the query."""
    for panel in panels():
        for target in panel["targets"]:
            yield f"dashboard, {panel['title']}", target["expr"]
    for annotation in json.loads(read(DASHBOARD))["annotations"]["list"]:
        yield f"dashboard, {annotation['name']}", annotation["expr"]
    for rule in rules():
        yield rule.get("alert", rule.get("record")), rule["expr"]
    for test in yaml.safe_load(read(TESTS))["tests"]:
        for series in test["input_series"]:
            yield f"test, {test['name']}", series["series"]
    yield "autoscaling", re.search(r"query: (.*)", read("helm/shoal/templates/autoscaling.yaml"))[1]


def metrics():
    """Each metric that somebody asks for is in the catalogue, with these labels and values."""
    known = catalogue()
    if not known:
        faults.append(f"{METRICS}: there is no table of metrics")
    names = set()
    for where, query in used():
        for name, selector in re.findall(r"\b((?:shoal|process)_\w+|up)\b(?:\{([^}]*)\})?", query):
            if name in FOREIGN_METRICS:
                continue
            names.add(name)
            if name not in known:
                faults.append(f"{where}: {METRICS} has no {name}")
                continue
            for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector):
                own = label.removeprefix("exported_")
                if own in ("namespace", "instance", "le") or label == "job":
                    continue
                if own not in known[name]:
                    faults.append(f"{where}: {name} has no label {own}")
                elif known[name][own]:
                    for one in value.split("|"):
                        if one not in known[name][own]:
                            faults.append(f"{where}: {name} is never {own}={one}")
    # Prose names them, too.
    for name in re.findall(r"`(shoal_\w+?)(?:\{[^`]*)?`", read(RUNBOOK)):
        if name not in known and name + "_bucket" not in known:
            faults.append(f"{RUNBOOK}: {METRICS} has no {name}")
    return f"{len(names)} names"


def settings():
    """The chart's `config` takes the settings of the README's table, but for its own."""
    table = read(README).split("<!-- config:begin -->")[1].split("<!-- config:end -->")[0]
    there = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    config = json.loads(read(SCHEMA))["properties"]["config"]["properties"]
    for missing in sorted(there - OWN_SETTINGS - set(config)):
        faults.append(f"{SCHEMA}: config has no {missing}")
    for stale in sorted(set(config) - (there - OWN_SETTINGS)):
        faults.append(f"{SCHEMA}: there is no setting {stale}, or the chart sets it itself")
    return f"{len(config)} settings"


said = {"dashboard": dashboard, "alerts": alerts, "metrics": metrics, "settings": settings}[sys.argv[1]]()
for fault in faults:
    print(fault, file=sys.stderr)
if not faults:
    print(said)
sys.exit(1 if faults else 0)
