"""No permission is wider than AWS makes it."""

from __future__ import annotations

from tests.manifests.compose import as_list, quickstart, statements

OURS = ("Cluster", "TinyShapes", "AnyModel", "Observability")

WITHOUT_A_RESOURCE = {
    # EC2 describes have no resource; the region is a condition.
    "ec2:DescribeCapacityReservations",
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribePlacementGroups",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    # The price list has no resource.
    "pricing:GetProducts",
    # A listing has no resource.
    "iam:ListInstanceProfiles",
    # The cluster is a condition, as in Karpenter's reference template.
    "arc-zonal-shift:GetManagedResource",
}


def ours() -> list[tuple[str, dict[str, object]]]:
    return [
        (name, statement)
        for name, statement in statements(quickstart())
        if name.startswith(OURS) and statement["Effect"] == "Allow"
    ]


def test_every_resource_is_an_arn_where_the_action_has_one() -> None:
    for name, statement in ours():
        if "*" in as_list(statement["Resource"]):
            assert set(as_list(statement["Action"])) <= WITHOUT_A_RESOURCE, name


def test_every_action_is_named() -> None:
    for name, statement in ours():
        for action in as_list(statement["Action"]):
            assert "*" not in action, name


def test_no_full_access_policy_is_attached() -> None:
    for name, resource in quickstart()["Resources"].items():
        policies = str(resource.get("Properties", {}).get("ManagedPolicyArns", ""))
        assert "FullAccess" not in policies, name
        assert "AdministratorAccess" not in policies, name
