"""Small resources that are right, to break in one place each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Resource = dict[str, Any]
Change = Callable[[Resource], Any]

SAMPLES: dict[str, Resource] = {
    "Deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "agent", "namespace": "work", "labels": {"app": "agent"}},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "tolerations": [
                        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
                    ],
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [
                        {
                            "name": "agent",
                            "image": "registry.example/agent@sha256:0",
                            "imagePullPolicy": "IfNotPresent",
                            "env": [{"name": "NAME", "value": "1"}],
                            "ports": [{"name": "health", "containerPort": 8080}],
                            "livenessProbe": {
                                "httpGet": {"path": "/livez", "port": 8080},
                                "periodSeconds": 10,
                            },
                            "resources": {
                                "requests": {"cpu": "2", "nvidia.com/gpu": "1"},
                                "limits": {"nvidia.com/gpu": "1"},
                            },
                            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                        }
                    ],
                    "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "4Gi"}}],
                },
            },
        },
    },
    "NetworkPolicy": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "agents"},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"ports": [{"port": 443, "protocol": "TCP"}]}],
        },
    },
    "PriorityClass": {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "high"},
        "value": 1_000,
        "preemptionPolicy": "Never",
    },
    "PodDisruptionBudget": {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "agent"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "agent"}}},
    },
    "Service": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "agent"},
        "spec": {
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "selector": {"app": "agent"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    },
    "StatefulSet": {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "store"},
        "spec": {
            "serviceName": "store",
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": {"app": "store"}},
            "template": {
                "metadata": {"labels": {"app": "store", "tier": "data"}},
                "spec": {
                    "containers": [
                        {
                            "name": "store",
                            "image": "registry.example/store@sha256:0",
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                        }
                    ]
                },
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }
            ],
        },
    },
    "Job": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "once-"},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "once", "image": "registry.example/once@sha256:0"}],
                }
            }
        },
    },
    "Ingress": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "agent.example.com"},
        "spec": {
            "rules": [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "agent", "port": {"number": 80}}},
                            }
                        ]
                    }
                }
            ]
        },
    },
    "StorageClass": {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "fast"},
        "provisioner": "ebs.csi.aws.com",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    },
    "ServiceAccount": {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "agent"},
        "automountServiceAccountToken": False,
    },
    "EC2NodeClass": {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": "gpu"},
        "spec": {
            "amiSelectorTerms": [{"alias": "bottlerocket@v1.57.0"}],
            "instanceProfile": "profile",
            "subnetSelectorTerms": [{"id": "subnet-0a"}],
            "securityGroupSelectorTerms": [{"id": "sg-0a"}],
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvdb",
                    "ebs": {"volumeSize": "20Gi", "volumeType": "gp3", "encrypted": True},
                }
            ],
        },
    },
    "NodePool": {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "gpu"},
        "spec": {
            "template": {
                "metadata": {"labels": {"team": "pictures"}},
                "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.k8s.aws",
                        "kind": "EC2NodeClass",
                        "name": "gpu",
                    },
                    "taints": [{"key": "gpu", "effect": "NoSchedule"}],
                    "requirements": [
                        {
                            "key": "karpenter.k8s.aws/instance-gpu-count",
                            "operator": "In",
                            "values": ["1"],
                        }
                    ],
                    "terminationGracePeriod": "390s",
                },
            },
            "limits": {"nvidia.com/gpu": "10"},
            "disruption": {
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": "60s",
                "budgets": [{"nodes": "100%", "reasons": ["Empty"]}],
            },
        },
    },
    "NodeClass": {
        "apiVersion": "eks.amazonaws.com/v1",
        "kind": "NodeClass",
        "metadata": {"name": "gpu"},
        "spec": {
            "role": "nodes",
            "subnetSelectorTerms": [{"id": "subnet-0a"}],
            "securityGroupSelectorTerms": [{"id": "sg-0a"}],
            "networkPolicy": "DefaultAllow",
            "ephemeralStorage": {"size": "160Gi", "iops": 16_000, "throughput": 1_000},
        },
    },
    "ScaledObject": {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "agent"},
        "spec": {
            "scaleTargetRef": {"name": "agent"},
            "cooldownPeriod": 300,
            "minReplicaCount": 0,
            "maxReplicaCount": 10,
            "triggers": [
                {
                    "type": "aws-sqs-queue",
                    "authenticationRef": {"name": "agent"},
                    "metadata": {
                        "queueURL": "https://sqs.eu-west-1.amazonaws.com/123456789012/queue",
                        "awsRegion": "eu-west-1",
                        "queueLength": "12",
                        "scaleOnInFlight": "true",
                    },
                }
            ],
        },
    },
    "TriggerAuthentication": {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": "agent"},
        "spec": {"podIdentity": {"provider": "aws"}},
    },
}


def sample(kind: str, change: Change = lambda it: None) -> Resource:
    """Return a resource that is right, but for a change."""
    resource = copy.deepcopy(SAMPLES[kind])
    change(resource)
    return resource


def pod(deployment: Resource) -> Resource:
    """Return the specification of a Deployment's pods."""
    found: Resource = deployment["spec"]["template"]["spec"]
    return found


def container(deployment: Resource) -> Resource:
    """Return the container of a Deployment."""
    found: Resource = pod(deployment)["containers"][0]
    return found


def template(pool: Resource) -> Resource:
    """Return the specification of a NodePool's nodes."""
    return pod(pool)


def volume(node_class: Resource) -> Resource:
    """Return the volume of an EC2NodeClass."""
    found: Resource = node_class["spec"]["blockDeviceMappings"][0]["ebs"]
    return found


def trigger(scaled: Resource) -> Resource:
    """Return the settings of a ScaledObject's trigger."""
    found: Resource = scaled["spec"]["triggers"][0]["metadata"]
    return found
