#!/usr/bin/env python3
"""What the compose file's schema can't say: compose.py MODEL.json (as compose-go normalises it)."""
import json
import re
import sys

faults = []
with open(sys.argv[1], encoding="utf-8") as file:
    model = json.load(file)
services = model["services"]
for name, service in services.items():
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    if not limits.get("memory") or not limits.get("cpus"):
        faults.append(f"{name}: has no limits")
    # The image of the servers brings its own.
    if name != "shoal" and not service.get("healthcheck", {}).get("test"):
        faults.append(f"{name}: has no health check")
    if "no-new-privileges:true" not in service.get("security_opt", []):
        faults.append(f"{name}: may gain privileges")
    if "max-size" not in service.get("logging", {}).get("options", {}):
        faults.append(f"{name}: its log grows without bound")
    if not re.search(r":[^/:]+$", service["image"]) or service["image"].endswith(":latest"):
        faults.append(f"{name}: {service['image']} is another one tomorrow")
    for key, value in (service.get("environment") or {}).items():
        if re.search(r"password|token|secret", key, re.I) and value:
            faults.append(f"{name}: {key} has a value")
        if re.search(r"://[^/]*:[^/]*@", str(value)):
            faults.append(f"{name}: {key} has a password in it")
    for port in service.get("ports", []):
        if name != "haproxy" and port.get("host_ip") != "127.0.0.1":
            faults.append(f"{name}: port {port['published']} is open to everybody")

shoal = services["shoal"]
# Uploads alone may hold 512 MiB.
memory = re.match(r"(\d+)G$", str(shoal["deploy"]["resources"]["limits"]["memory"]))
if not memory or int(memory[1]) < 1:
    faults.append("the servers have too little memory")
if shoal["deploy"]["replicas"] != 3:
    faults.append("there aren't three servers")
if not shoal.get("read_only") or shoal.get("cap_drop") != ["ALL"]:
    faults.append("the servers may do more than they need")
grace = int(re.match(r"(\d+)s$", shoal["environment"]["SHOAL_SHUTDOWN_GRACE"])[1])
if int(re.match(r"(\d+)s$", shoal["stop_grace_period"])[1]) < grace + 2 + 25:
    faults.append("the servers are killed before they have ended")
if not model["networks"]["back"].get("internal"):
    faults.append("Redis and MongoDB can be reached without a password")
for name in ("redis", "mongodb"):
    if list(services[name]["networks"]) != ["back"] or services[name].get("ports"):
        faults.append(f"{name}: can be reached without a password")
command = services["redis"]["command"]
for option, value in (("--appendonly", "yes"), ("--maxmemory-policy", "noeviction")):
    if option not in command or command[command.index(option) + 1] != value:
        faults.append(f"redis: {option} isn't {value}")
for fault in faults:
    print(fault, file=sys.stderr)
sys.exit(1 if faults else 0)
