#!/usr/bin/env python3
"""Looks at what the chart makes, by Kubernetes' own schemas: manifests.py VERSION FILE...

Every object is held against the schema of its kind, strictly: a field that isn't there is a mistake. What Kubernetes has no
schema for is named, and must be one of the kinds that belong to somebody else. Besides, every container has to keep what
the profile `restricted` asks for, and resources, and nobody may mount a token.
"""
import sys

import kubernetes_validate
import yaml

# Kinds of the Prometheus operator, of KEDA, and of the Gateway API: their schemas come with them.
OTHERS = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute"}


def pod_of(document):
    """The pod that an object makes, if it makes one."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if document["kind"] == "Pod":
        return spec
    return spec.get("template", {}).get("spec")


def faults_of_pod(pod):
    if pod.get("automountServiceAccountToken") is not False:
        yield "mounts a token"
    if pod.get("enableServiceLinks") is not False:
        yield "has variables of Services, which look like settings"
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    for container in pod.get("initContainers", []) + pod["containers"]:
        name = container["name"]
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: may gain privileges"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{name}: may write its root"
        if "ALL" not in own.get("capabilities", {}).get("drop", []):
            yield f"{name}: keeps capabilities"
        resources = container.get("resources", {})
        if "memory" not in resources.get("limits", {}) or "cpu" not in resources.get("requests", {}):
            yield f"{name}: has no bounds"
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        if "volumeClaimTemplates" not in pod and not mounts <= volumes | {"data"}:
            yield f"{name}: mounts what isn't there: {mounts - volumes}"


def main():
    version, paths = sys.argv[1], sys.argv[2:]
    faults, count, left_out = [], 0, set()
    for path in paths:
        with open(path, encoding="utf-8") as file:
            documents = [document for document in yaml.safe_load_all(file) if document]
        seen = set()
        for document in documents:
            kind, name = document["kind"], document["metadata"]["name"]
            where = f"{path}: {kind} {name}"
            if (kind, name) in seen:
                faults.append(f"{where}: is there twice")
            seen.add((kind, name))
            pod = pod_of(document)
            if pod:
                faults.extend(f"{where}: {fault}" for fault in faults_of_pod(pod))
            if kind in OTHERS:
                left_out.add(kind)
                continue
            try:
                kubernetes_validate.validate(document, version, strict=True)
                count += 1
            except kubernetes_validate.ValidationError as error:
                at = ".".join(str(step) for step in error.path)
                faults.append(f"{where}: {at}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError as error:
                faults.append(f"{where}: {error.message}")
    for fault in faults:
        print(fault, file=sys.stderr)
    without = f"; no schema for {', '.join(sorted(left_out))}" if left_out else ""
    print(f"{count} objects are valid for Kubernetes {version}{without}")
    sys.exit(1 if faults else 0)


main()
