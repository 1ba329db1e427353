"""An EBS snapshot with the container images of runtimes, built while the app is deployed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aws_cdk import (
    CustomResource,
    Duration,
    Fn,
    RemovalPolicy,
    Size,
    Stack,
)
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from ..._acknowledge import acknowledge, acknowledge_own_policy
from ...cluster.subnets import find
from ...cluster.versions import VERSIONS
from ...image_cache_handler.protocol import ASSET, RECIPE, REGISTRY
from ..image import RuntimeImage
from ..seconds import whole_seconds
from .arguments import DEFAULT_TIMEOUT_MINUTES, check, default_volume
from .builder import SNAPSHOTTER, VARIANT, Builder
from .definition import BuildPlan, build_definition, cleanup_definition
from .permissions import allow_to_build, allow_to_terminate
from .provider import CacheProvider
from .same_stack import StaysInItsStack

_LOG_RETENTION = logs.RetentionDays.THREE_MONTHS

_REPORT_MINUTES = 3
"""What remains, after a build must have ended, to learn so and to tell CloudFormation."""


class ImageCache(Construct):
    """An EBS snapshot that holds container images, so that new nodes need not pull them.

    ``cdk deploy`` builds it: it launches an instance with Bottlerocket, pulls the images onto the
    instance's data volume, takes a snapshot of that, and terminates the instance. Nodes whose data
    volume is made from the snapshot have the images when they start. Give it to
    ``ImageStart.snapshot(cache)``, and make it in the stack of those nodes: what another stack
    imports could not change.

    A snapshot is built anew only when the images, the version of Bottlerocket or the size of the
    volume change. Where a snapshot made from the same exists, as after a rollback, it is taken. A
    build costs about an hour of the instance at most, and the deployment waits for it: 15 to 30
    minutes for images of 15 GB.

    The images must be named by digest, or be built with the app: a tag that moves would leave the
    snapshot stale, and nobody would notice. Images in Amazon ECR are pulled with the builder's
    role, which may read their repositories; where the name of one is a token, grant it:
    ``repository.grant_pull(cache.builder_role)``. Other registries must allow anonymous reading.

    The instance is always terminated: by the state machine, whatever happens in it; by another one
    that an event starts when the first is stopped or runs out of time; by a shutdown that it
    schedules for itself; and when the cache is deleted.

    Disks and snapshots are encrypted with the key that is the account's default for EBS. Where
    that is a key of yours, its policy must let ``cache.state_machine.role`` use it, Karpenter's
    role, and for spot capacity ``AWSServiceRoleForEC2Spot``.

    With the cache, its snapshots are deleted. Nodes that run are not touched: a volume lives on
    without the snapshot that it was made from.

    Example:
        >>> cache = ImageCache(  # doctest: +SKIP
        ...     stack, "Images", images=[RuntimeImage.from_package()], vpc=cluster.vpc
        ... )

    Attributes:
        snapshot_id: Identifier of the snapshot; a token.
        image_uris: Names of the images, as pods must name them.
        volume_gibibytes: Size of the volume that the snapshot is of; a volume made from it must be
            at least as large.
        builder_role: Role of the instance that pulls the images.
        state_machine: What builds the snapshot.
        resource: What stands for the snapshot in the template: what needs it can depend on it.
    """

    snapshot_id: str
    image_uris: tuple[str, ...]
    volume_gibibytes: int
    builder_role: iam.Role
    state_machine: sfn.StateMachine
    resource: CustomResource

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        images: Sequence[RuntimeImage],
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection | None = None,
        volume: Size | None = None,
        keep_versions: int = 2,
        timeout: Duration | None = None,
        instance_type: ec2.InstanceType | None = None,
    ) -> None:
        """Make a cache.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            images: What to hold, one image or more.
            vpc: Network of the instance that builds.
            subnets: Where in it: subnets from which Amazon ECR, Amazon S3, Systems Manager and the
                images' registries can be reached. When one has no capacity, the next is tried.
                Default: the private ones with egress.
            volume: Size of the volume, 20 GiB to 16 TiB; an image takes its compressed and its
                unpacked size. Default: 60 GiB, and 2.4 times the size of models in the images.
            keep_versions: How many snapshots are kept, 2 to 10: the one in use, the one that a
                rollback needs, and older ones. Default: 2.
            timeout: How long a build may take, 25 to 55 minutes, of which 18 are set aside for
                launching, starting, stopping and terminating the instance at their slowest.
                Images of 15 GB take about 4 minutes to pull at 70 MB/s, and 10 at a slow registry's
                25 MB/s; their snapshot takes 5 to 15. CloudFormation itself waits one hour.
                Default: 45 minutes.
            instance_type: Type of the instance, of the x86-64 architecture. Default: m6i.xlarge.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        check(
            where=f"ImageCache {scope.node.path}/{id}",
            images=images,
            vpc=vpc,
            subnets=subnets,
            volume=volume,
            keep_versions=keep_versions,
            timeout=timeout,
            instance_type=instance_type,
        )
        super().__init__(scope, id)
        size = volume or default_volume(images)
        longest = timeout or Duration.minutes(DEFAULT_TIMEOUT_MINUTES)
        # Whole ones, in which what waits for a build can count.
        minutes = math.ceil(longest.to_minutes(integral=False))
        # Unique among all caches of an account and region, and the same for this one's lifetime.
        cache = f"{self.node.addr[-8:]}-{Fn.select(2, Fn.split('/', Stack.of(self).stack_id))}"
        self.volume_gibibytes = int(size.to_gibibytes())

        scopes = [Construct(self, f"Image{number}") for number in range(1, len(images) + 1)]
        uris = [image._bind(scope) for image, scope in zip(images, scopes, strict=True)]
        assets = [_asset(scope) for scope in scopes]
        self.image_uris = tuple(uris)

        builder = Builder(
            self,
            "Builder",
            vpc=vpc,
            instance_type=instance_type or ec2.InstanceType("m6i.xlarge"),
            volume=size,
            images=[uri for uri, asset in zip(uris, assets, strict=True) if asset is None],
            assets=[asset for asset in assets if asset is not None],
        )
        self.builder_role = builder.role
        where = find(vpc, subnets)

        self._logs = logs.LogGroup(
            self, "Logs", retention=_LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        acknowledge(
            self._logs,
            {
                "NIST.800.53.R5-CloudWatchLogGroupEncrypted": (
                    "CloudWatch Logs encrypts it with a key of its own. The logs name images, "
                    "instances and snapshots, and hold no secrets."
                )
            },
        )
        self.state_machine = self._build_machine(builder, where.subnet_ids, cache, longest)
        cleanup = self._cleanup(cache)
        provider = CacheProvider(
            self,
            "Provider",
            state_machine=self.state_machine,
            cache=cache,
            timeout=Duration.minutes(minutes + _REPORT_MINUTES),
            log_retention=_LOG_RETENTION,
        )
        self.resource = CustomResource(
            self,
            "Snapshot",
            service_token=provider.service_token,
            resource_type="Custom::StableDiffusionImageCache",
            service_timeout=Duration.minutes(minutes + _REPORT_MINUTES + 1),
            properties={
                "Cache": cache,
                # CloudFormation asks for a snapshot only where a property changes.
                "Recipe": RECIPE,
                "Images": [
                    {"Uri": uri, "Source": REGISTRY if asset is None else ASSET}
                    for uri, asset in zip(uris, assets, strict=True)
                ],
                "Variant": VARIANT,
                "Version": VERSIONS.bottlerocket,
                "Snapshotter": SNAPSHOTTER,
                "VolumeGibibytes": self.volume_gibibytes,
                "KeepVersions": keep_versions,
                "LifetimeMinutes": minutes,
            },
        )
        # Whole until the snapshot is made, and again until it is deleted.
        self.resource.node.add_dependency(
            builder,
            where.internet_connectivity_established,
            self.state_machine,
            self.state_machine.role,
            cleanup,
            provider,
        )
        self.snapshot_id = self.resource.get_att_string("SnapshotId")
        self.node.add_validation(StaysInItsStack(self, self.snapshot_id))

    def _build_machine(
        self, builder: Builder, subnet_ids: Sequence[str], cache: str, longest: Duration
    ) -> sfn.StateMachine:
        template = builder.launch_template
        assert template.launch_template_id is not None
        role = self._machine_role("StateMachineRole")
        allow_to_build(role, builder=builder, subnet_ids=subnet_ids, cache=cache)
        plan = BuildPlan(
            cache=cache,
            launch_template_id=template.launch_template_id,
            launch_template_version=template.latest_version_number,
            subnet_ids=subnet_ids,
            timeout_seconds=whole_seconds(longest, default=0),
        )
        return self._machine("StateMachine", build_definition(plan), role)

    def _cleanup(self, cache: str) -> Construct:
        """Make what terminates the instance of a build that could not do so itself."""
        scope = Construct(self, "Cleanup")
        role = self._machine_role("Role", scope)
        allow_to_terminate(role, cache=cache)
        machine = self._machine("StateMachine", cleanup_definition(cache), role, scope)
        events.Rule(
            scope,
            "Rule",
            description="A build of a snapshot with container images ended badly",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [self.state_machine.state_machine_arn],
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                },
            ),
            targets=[targets.SfnStateMachine(machine)],
        )
        # The role by which the rule starts it is the state machine's child.
        acknowledge_own_policy(machine)
        return scope

    def _machine_role(self, id: str, scope: Construct | None = None) -> iam.Role:
        role = iam.Role(
            scope or self,
            id,
            assumed_by=iam.ServicePrincipal(
                "states.amazonaws.com",
                # For state machines of this account only.
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            ),
        )
        acknowledge_own_policy(role)
        return role

    def _machine(
        self, id: str, definition: object, role: iam.Role, scope: Construct | None = None
    ) -> sfn.StateMachine:
        return sfn.StateMachine(
            scope or self,
            id,
            definition_body=sfn.DefinitionBody.from_string(
                Stack.of(self).to_json_string(definition)
            ),
            role=role,
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=self._logs, level=sfn.LogLevel.ALL, include_execution_data=True
            ),
        )


def _asset(scope: Construct) -> ecr_assets.DockerImageAsset | None:
    """Return what an image is published by, if the app builds it."""
    return next(
        (each for each in scope.node.find_all() if isinstance(each, ecr_assets.DockerImageAsset)),
        None,
    )
