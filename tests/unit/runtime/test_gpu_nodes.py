"""Which nodes can be asked for, and what is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import Duration, Fn, Size, Token
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime import (
    Capacity,
    DisruptionBudget,
    DisruptionReason,
    DisruptionWindow,
    GpuNodes,
    ImageStart,
)
from cdk_stable_diffusion.runtime.disk import DiskUse
from cdk_stable_diffusion.runtime.families import _TYPES
from cdk_stable_diffusion.runtime.node_pool import node_pool
from tests.manifests.validator import faults_of
from tests.unit.runtime.light_cluster import AUTO_MODE, KARPENTER

FAMILIES = sorted(_TYPES)
NIGHT = DisruptionWindow(schedule="0 22 * * *", duration=Duration.hours(8))


def pool(nodes: GpuNodes, *, max_gpus: int = 8, cache: int = 100) -> dict[str, Any]:
    """Return the spec of a NodePool, which must be valid."""
    use = DiskUse(model_cache_gibibytes=cache)
    manifest = node_pool("gpus", compute=KARPENTER, nodes=nodes, max_gpus=max_gpus, use=use)
    assert faults_of(manifest) == []
    return dict(manifest["spec"])


def requirements(spec: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    """Return the requirements of a NodePool by label, each of which must be there once."""
    found = spec["template"]["spec"]["requirements"]
    by_label = {each["key"]: (each["operator"], each["values"]) for each in found}
    assert len(by_label) == len(found)
    return by_label


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"families": ()}, "families is empty"),
            ({"families": ("g6.xlarge",)}, "families names 'g6.xlarge'"),
            ({"families": "g5"}, "families is 'g5': a tuple of instance families, such as ('g5',)"),
            ({"families": (5,)}, "families names 5"),
            ({"families": ("m5",)}, "families names 'm5': a family with NVIDIA GPUs"),
            ({"families": ("inf2",)}, "families names 'inf2': a family with NVIDIA GPUs"),
            ({"families": ("g6", "g4ad")}, "families names 'g4ad': its GPUs are AMD's"),
            ({"families": ("g5g",)}, "families names 'g5g': its processors are ARM"),
            ({"families": ("g6f",)}, "families names 'g6f': its instances have a fraction"),
            ({"families": ("p3",)}, "families names 'p3': its instances are too old"),
            ({"min_gpu_memory_gibibytes": "24"}, "min_gpu_memory_gibibytes is '24': a whole"),
            ({"min_gpu_memory_gibibytes": 0}, "min_gpu_memory_gibibytes is 0: 1 to 1024"),
            ({"max_vcpus": 8.0}, "max_vcpus is 8.0: a whole number"),
            ({"max_vcpus": 2}, "max_vcpus is 2: 4 to 192"),
            ({"gpus_per_node": "4"}, "gpus_per_node is '4': a whole number"),
            ({"gpus_per_node": 0}, "gpus_per_node is 0: 1 to 16"),
            ({"max_gpus": "3"}, "max_gpus is '3': a whole number"),
            ({"max_gpus": 0}, "max_gpus is 0: at least 1"),
            (
                {"max_gpus": 10, "gpus_per_node": 4},
                "max_gpus is 10: a multiple of gpus_per_node, 4",
            ),
            ({"capacity": "spot"}, "capacity is 'spot': a Capacity, such as Capacity.SPOT"),
            ({"image_start": "pull"}, "image_start is 'pull': an ImageStart, such as"),
            ({"expire_after": 5}, "expire_after is 5: a Duration"),
            ({"expire_after": Duration.minutes(5)}, "expire_after is 300 seconds: at least 3600"),
            (
                {"termination_grace": Duration.minutes(11)},
                "termination_grace is 660 seconds: 60 to 600",
            ),
            (
                {"termination_grace": Duration.seconds(30)},
                "termination_grace is 30 seconds: 60 to 600",
            ),
            ({"zones": "eu-west-1a"}, "zones is 'eu-west-1a': a tuple of availability zones"),
            ({"zones": ()}, "zones is empty: at least one, or None for all"),
            ({"zones": ("eu-west-1",)}, "zones names 'eu-west-1': an availability zone such as"),
            ({"zones": (1,)}, "zones names 1: an availability zone"),
            ({"zones": ("eu-west-1a",) * 2}, "zones names 'eu-west-1a' 2 times: once"),
            ({"budgets": ()}, "budgets has 0: 1 to 50, or None for the default ones"),
            ({"budgets": ("10%",)}, "budget is '10%': a DisruptionBudget"),
            (
                {"budgets": DisruptionBudget.of_nodes(1)},
                "a tuple of DisruptionBudgets, such as (DisruptionBudget.of_nodes(1),)",
            ),
        ],
    )
    def test_refuses(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError) as error:
            GpuNodes(**arguments)
        assert says in str(error.value)

    def test_names_every_fault_at_once(self) -> None:
        with pytest.raises(ValueError) as error:
            GpuNodes(families=(), max_vcpus=1, max_gpus=0, zones=(), budgets=())
        for argument in ("families", "max_vcpus", "max_gpus", "zones", "budgets"):
            assert f"{argument} " in str(error.value)

    def test_takes_zones_that_are_known_at_deployment(self) -> None:
        zone = Fn.select(0, Fn.get_azs())
        assert GpuNodes(zones=(zone, "us-west-2-lax-1a")).zones is not None

    def test_has_no_word_for_what_would_move_busy_pods(self) -> None:
        assert {reason.value for reason in DisruptionReason} == {"Empty", "Drifted"}


class TestInstances:
    """What no instance type meets is refused in one message, which says what would do."""

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (
                {"families": ("g5",), "min_gpu_memory_gibibytes": 40},
                "no instance type of g5 has 1 GPU of 40 GiB and at most 16 vCPUs: "
                "min_gpu_memory_gibibytes 22 would do",
            ),
            (
                {"gpus_per_node": 4, "max_vcpus": 16},
                "no instance type of g5, g6, g6e, gr6 has 4 GPUs of 20 GiB and at most 16 vCPUs: "
                "gpus_per_node 1 or max_vcpus 48 would do",
            ),
            (
                {"gpus_per_node": 3},
                "has 3 GPUs of 20 GiB and at most 72 vCPUs: gpus_per_node 1 or 4 would do",
            ),
            (
                {"families": ("gr6",), "max_vcpus": 8},
                "no instance type of gr6 has 1 GPU of 20 GiB and at most 8 vCPUs: max_vcpus 16 "
                "would do",
            ),
            (
                {"families": ("p4d",)},
                "no instance type of p4d has 1 GPU of 20 GiB and at most 16 vCPUs: there are "
                "instances with 8 GPUs, of 40 GiB at most",
            ),
            (
                {"families": ("p4d", "p4de"), "max_vcpus": 96, "min_gpu_memory_gibibytes": 90},
                "there are instances with 8 GPUs, of 80 GiB at most",
            ),
        ],
    )
    def test_refuses(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError) as error:
            GpuNodes(**arguments)
        assert str(error.value).endswith(says)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"families": ("g5", "g6e"), "min_gpu_memory_gibibytes": 44},
            {"families": ("g5",), "min_gpu_memory_gibibytes": 22},
            {"families": ("p5",), "min_gpu_memory_gibibytes": 80},
            {"families": ("g5", "g99"), "min_gpu_memory_gibibytes": 500},
            {"families": ("g7",), "gpus_per_node": 2},
            {"families": ("p4d",), "gpus_per_node": 8},
            {"gpus_per_node": 8},
        ],
    )
    def test_takes_what_may_be_met(self, arguments: dict[str, Any]) -> None:
        assert GpuNodes(**arguments).gpus_per_node == arguments.get("gpus_per_node", 1)

    @given(
        families=st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=3, unique=True),
        gpus=st.sampled_from([1, 2, 3, 4, 8]),
        memory=st.integers(1, 300),
        vcpus=st.integers(4, 192),
    )
    def test_takes_exactly_what_an_instance_type_meets(
        self, families: list[str], gpus: int, memory: int, vcpus: int
    ) -> None:
        is_met = any(
            has_gpus == gpus and has_vcpus <= vcpus and mebibytes >= memory * 1_024
            for mebibytes, sizes in (_TYPES[family] for family in families)
            for has_gpus, has_vcpus, _ in sizes
        )
        try:
            GpuNodes(
                families=tuple(families),
                gpus_per_node=gpus,
                min_gpu_memory_gibibytes=memory,
                max_vcpus=vcpus,
            )
        except ValueError as refusal:
            assert not is_met
            assert "no instance type of" in str(refusal)
        else:
            assert is_met

    @pytest.mark.parametrize("family", FAMILIES)
    def test_the_default_of_max_vcpus_admits_each_number_of_gpus(self, family: str) -> None:
        for gpus in {gpus for gpus, _, _ in _TYPES[family][1]}:
            nodes = GpuNodes(families=(family,), gpus_per_node=gpus, min_gpu_memory_gibibytes=1)
            assert any(
                has == gpus and vcpus <= nodes.vcpu_limit for has, vcpus, _ in _TYPES[family][1]
            )


class TestNodePool:
    def test_asks_for_what_nodes_must_be_able_to_do(self) -> None:
        instance = "karpenter.k8s.aws/instance"
        assert requirements(pool(GpuNodes())) == {
            "karpenter.sh/capacity-type": ("In", ["spot", "on-demand"]),
            "kubernetes.io/arch": ("In", ["amd64"]),
            "kubernetes.io/os": ("In", ["linux"]),
            f"{instance}-family": ("In", ["g5", "g6", "g6e", "gr6"]),
            f"{instance}-gpu-manufacturer": ("In", ["nvidia"]),
            f"{instance}-gpu-count": ("In", ["1"]),
            f"{instance}-gpu-memory": ("Gt", [str(20 * 1_024 - 1)]),
            f"{instance}-cpu": ("Lt", ["17"]),
            f"{instance}-hypervisor": ("In", ["nitro"]),
            f"{instance}-local-nvme": ("Gt", ["207"]),
        }

    def test_takes_a_card_of_24_gb(self) -> None:
        operator, (least,) = requirements(pool(GpuNodes()))["karpenter.k8s.aws/instance-gpu-memory"]
        assert operator == "Gt"
        assert int(least) < 22_888

    def test_asks_for_several_gpus_with_disks_for_all_their_pods(self) -> None:
        found = requirements(pool(GpuNodes(gpus_per_node=4)))
        assert found["karpenter.k8s.aws/instance-gpu-count"] == ("In", ["4"])
        assert found["karpenter.k8s.aws/instance-cpu"] == ("Lt", ["97"])
        # (50 + 4 x 114) / 0.85 GiB
        assert found["karpenter.k8s.aws/instance-local-nvme"] == ("Gt", ["639"])

    def test_keeps_to_zones(self) -> None:
        found = requirements(pool(GpuNodes(zones=("eu-west-1a", "eu-west-1b"))))
        assert found["topology.kubernetes.io/zone"] == ("In", ["eu-west-1a", "eu-west-1b"])

    @pytest.mark.parametrize("capacity", Capacity)
    def test_buys_as_told(self, capacity: Capacity) -> None:
        found = requirements(pool(GpuNodes(capacity=capacity)))
        assert found["karpenter.sh/capacity-type"] == ("In", list(capacity.value))

    def test_asks_for_no_local_disks_with_a_snapshot(self) -> None:
        start = ImageStart.snapshot("snap-0123456789abcdef0", volume=Size.gibibytes(60))
        assert "karpenter.k8s.aws/instance-local-nvme" not in requirements(
            pool(GpuNodes(image_start=start))
        )

    @pytest.mark.parametrize("compute", [KARPENTER, AUTO_MODE], ids=["karpenter", "auto-mode"])
    def test_asks_in_a_way_that_every_version_of_karpenter_knows(self, compute: Any) -> None:
        manifest = node_pool(
            "gpus",
            compute=compute,
            nodes=GpuNodes(),
            max_gpus=1,
            use=DiskUse(model_cache_gibibytes=100),
        )
        asked = requirements(manifest["spec"]).values()
        assert {operator for operator, _ in asked} == {"In", "Gt", "Lt"}

    def test_stops_at_the_limit(self) -> None:
        assert pool(GpuNodes(), max_gpus=7)["limits"] == {"nvidia.com/gpu": "7"}

    def test_never_moves_a_busy_pod(self) -> None:
        for nodes in (GpuNodes(), GpuNodes(gpus_per_node=8)):
            assert pool(nodes)["disruption"]["consolidationPolicy"] == "WhenEmpty"

    def test_lets_nodes_end_for_ten_minutes(self) -> None:
        assert pool(GpuNodes())["template"]["spec"]["terminationGracePeriod"] == "600s"
        shorter = GpuNodes(termination_grace=Duration.minutes(7))
        assert pool(shorter)["template"]["spec"]["terminationGracePeriod"] == "420s"

    def test_is_no_static_pool_and_has_no_weight(self) -> None:
        assert set(pool(GpuNodes())) == {"template", "limits", "disruption"}


class TestBudgets:
    def test_ends_idle_nodes_at_once_and_replaces_others_one_by_one(self) -> None:
        assert pool(GpuNodes())["disruption"]["budgets"] == [
            {"nodes": "100%", "reasons": ["Empty"]},
            {"nodes": "1", "reasons": ["Drifted"]},
        ]

    def test_are_the_users(self) -> None:
        budgets = (
            DisruptionBudget.of_percent(20),
            DisruptionBudget.of_nodes(0, DisruptionReason.DRIFTED, during=NIGHT),
        )
        assert pool(GpuNodes(budgets=budgets))["disruption"]["budgets"] == [
            {"nodes": "20%", "reasons": ["Empty", "Drifted"]},
            {
                "nodes": "0",
                "reasons": ["Drifted"],
                "schedule": "0 22 * * *",
                "duration": "480m",
            },
        ]

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((-1,), "count is -1: at least 0"),
            (("1",), "count is '1': a whole number"),
            ((1, "Underutilized"), "reason is 'Underutilized': a DisruptionReason"),
            ((0,), "count is 0 at all times: empty nodes would never end"),
            ((0, DisruptionReason.EMPTY), "count is 0 at all times"),
        ],
    )
    def test_refuses_a_count(self, arguments: tuple[Any, ...], says: str) -> None:
        with pytest.raises(ValueError) as error:
            DisruptionBudget.of_nodes(*arguments)
        assert says in str(error.value)

    @pytest.mark.parametrize("percent", [-1, 101])
    def test_refuses_a_percentage(self, percent: int) -> None:
        with pytest.raises(ValueError, match=f"percent is {percent}: 0 to 100"):
            DisruptionBudget.of_percent(percent)

    def test_refuses_a_schedule_instead_of_a_window(self) -> None:
        with pytest.raises(ValueError, match="during is '@daily': a DisruptionWindow"):
            DisruptionBudget.of_nodes(1, during="@daily")  # type: ignore[arg-type]

    def test_may_keep_idle_nodes_for_a_while(self) -> None:
        assert DisruptionBudget.of_nodes(0, during=NIGHT).limit == "0"

    def test_count_each_reason_once(self) -> None:
        twice = (DisruptionReason.DRIFTED, DisruptionReason.DRIFTED)
        assert DisruptionBudget.of_nodes(1, *twice).reasons == (DisruptionReason.DRIFTED,)


class TestWindow:
    @pytest.mark.parametrize(
        "schedule",
        [
            "0 9 * * mon-fri",
            "*/15 0-6,22,23 1-7 jan,jul ?",
            "0 9 * * MON",
            "5/10 * * * *",
            "59 23 31 12 6",
            "@daily",
            "@yearly",
        ],
    )
    def test_takes_what_karpenter_takes(self, schedule: str) -> None:
        window = DisruptionWindow(schedule=schedule, duration=Duration.minutes(90))
        nodes = GpuNodes(budgets=(DisruptionBudget.of_nodes(0, during=window),))
        (budget,) = pool(nodes)["disruption"]["budgets"]
        assert (budget["schedule"], budget["duration"]) == (schedule, "90m")

    @pytest.mark.parametrize(
        ("schedule", "says"),
        [
            ("", "schedule is '': a cron schedule in UTC"),
            ("0 9 * *", "schedule is '0 9 * *': a cron schedule"),
            ("0 0 9 * * *", "schedule is '0 0 9 * * *': a cron schedule"),
            ("@reboot", "schedule is '@reboot': a cron schedule"),
            ("60 * * * *", "'60' is no minute, which is 0 to 59"),
            ("* 24 * * *", "'24' is no hour, which is 0 to 23"),
            ("* * 0 * *", "'0' is no day of the month, which is 1 to 31"),
            ("* * * foo *", "'foo' is no month, which is 1 to 12 or jan to dec"),
            ("* * * * 7", "'7' is no day of the week, which is 0 to 6 or sun to sat"),
            ("9-5 * * * *", "'9-5' is no minute"),
            ("*/0 * * * *", "'*/0' is no minute"),
            ("TZ=Asia/Tokyo 9 * * *", "'TZ=Asia/Tokyo' is no minute"),
            (5, "schedule is 5: a cron schedule"),
        ],
    )
    def test_refuses_a_schedule(self, schedule: Any, says: str) -> None:
        with pytest.raises(ValueError) as error:
            DisruptionWindow(schedule=schedule, duration=Duration.hours(1))
        assert says in str(error.value)

    @pytest.mark.parametrize(
        ("duration", "says"),
        [
            (None, "duration is None: how long the window is open"),
            (5, "duration is 5: a Duration"),
            (Duration.seconds(30), "duration is 30 seconds: at least 60"),
            (Duration.seconds(90), "duration is 90 seconds: whole minutes"),
            pytest.param(
                Duration.minutes(Token.as_number({"Ref": "Minutes"})),
                "duration is a token",
                id="token",
            ),
        ],
    )
    def test_refuses_a_duration(self, duration: Any, says: str) -> None:
        with pytest.raises(ValueError) as error:
            DisruptionWindow(schedule="@daily", duration=duration)
        assert says in str(error.value)

    @given(
        fields=st.tuples(
            st.integers(0, 59),
            st.integers(0, 23),
            st.integers(1, 31),
            st.integers(1, 12),
            st.integers(0, 6),
        ),
        step=st.integers(1, 30),
    )
    def test_takes_every_time_there_is(self, fields: tuple[int, ...], step: int) -> None:
        for written in (fields, tuple(f"{each}/{step}" for each in fields)):
            schedule = " ".join(map(str, written))
            window = DisruptionWindow(schedule=schedule, duration=Duration.hours(1))
            assert window.schedule == schedule
