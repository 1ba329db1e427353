"""The arithmetic of disks: a node has room for what its pods may fill."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime.disk import MAX_MODEL_CACHE_GIBIBYTES, DiskUse

GIBIBYTE = 1024**3
GIGABYTE = 1000**3

PODS = st.sampled_from([1, 2, 4, 8])
USES = st.builds(
    DiskUse,
    model_cache_gibibytes=st.integers(1, MAX_MODEL_CACHE_GIBIBYTES),
    image_models_gibibytes=st.integers(0, 200),
    has_engine=st.booleans(),
)


def allocatable(size: int) -> float:
    """Return what Karpenter lets pods have of a disk: not what is reserved or evicts pods."""
    return 0.9 * size - GIBIBYTE


def test_default_of_one_pod() -> None:
    use = DiskUse(model_cache_gibibytes=100)
    assert use.cache_limit_gibibytes == 110
    assert use.pod_gibibytes == 114
    # (50 + 114) / 0.85 = 192.9 GiB, which is 207.2 GB: an xlarge of g5, g6 and g6e has 250.
    assert use.local_disk_gibibytes(pods=1) == 193
    assert use.local_disk_gigabytes(pods=1) == 208


def test_default_of_four_pods() -> None:
    use = DiskUse(model_cache_gibibytes=100)
    # (50 + 4 x 114) / 0.85 = 595.3 GiB, which is 640 GB.
    assert use.local_disk_gibibytes(pods=4) == 596
    assert use.local_disk_gigabytes(pods=4) == 640
    # (60 + 4 x 114) / 0.85 = 607.1 GiB
    assert use.volume_gibibytes(pods=4, snapshot_gibibytes=60) == 608


@given(use=USES, pods=PODS)
def test_an_agent_stops_before_its_pod_is_evicted(use: DiskUse, pods: int) -> None:
    assert use.model_cache_gibibytes < use.cache_limit_gibibytes < use.pod_gibibytes


@given(use=USES, pods=PODS)
def test_full_caches_and_images_evict_no_pod_from_local_disks(use: DiskUse, pods: int) -> None:
    disk = use.local_disk_gigabytes(pods=pods) * GIGABYTE
    full = pods * use.pod_gibibytes + 2 * use.image_models_gibibytes + 40
    assert full * GIBIBYTE <= 0.85 * disk


@given(use=USES, pods=PODS, snapshot=st.integers(10, 500))
def test_full_caches_evict_no_pod_from_a_volume_whose_snapshot_was_full(
    use: DiskUse, pods: int, snapshot: int
) -> None:
    volume = use.volume_gibibytes(pods=pods, snapshot_gibibytes=snapshot)
    assert snapshot + pods * use.pod_gibibytes <= 0.85 * volume


@given(use=USES, pods=PODS, snapshot=st.integers(10, 500))
def test_pods_fit_by_karpenters_reckoning(use: DiskUse, pods: int, snapshot: int) -> None:
    asked = pods * use.pod_gibibytes * GIBIBYTE
    assert asked <= allocatable(use.local_disk_gigabytes(pods=pods) * GIGABYTE)
    volume = use.volume_gibibytes(pods=pods, snapshot_gibibytes=snapshot)
    assert asked <= allocatable(volume * GIBIBYTE)


@given(use=USES, pods=PODS, gigabytes=st.integers(1, 40_000))
def test_largest_cache_is_the_largest(use: DiskUse, pods: int, gigabytes: int) -> None:
    def needed(cache: int) -> int:
        return replace(use, model_cache_gibibytes=cache).local_disk_gigabytes(pods=pods)

    most = use.largest_model_cache_gibibytes(pods=pods, gigabytes=gigabytes)
    assert most == 0 or needed(most) <= gigabytes
    assert most == MAX_MODEL_CACHE_GIBIBYTES or needed(most + 1) > gigabytes
