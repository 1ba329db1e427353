"""Who reaches the Kubernetes API."""

from __future__ import annotations

import ipaddress

import pytest
from aws_cdk import App, Stack, assertions
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.cluster import ClusterEndpoint, SdEksCluster
from cdk_stable_diffusion.cluster.cluster import OPEN_TO_ALL_WARNING

PRIVATE = tuple(
    ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
NETWORKS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda each: ipaddress.IPv4Network(each, strict=False)
)


def is_private(network: ipaddress.IPv4Network) -> bool:
    return any(network.subnet_of(private) for private in PRIVATE)


@given(NETWORKS)
def test_takes_each_network_that_is_not_private(network: ipaddress.IPv4Network) -> None:
    if is_private(network):
        with pytest.raises(ValueError, match=f"{network}': a private network"):
            ClusterEndpoint.public_and_private(str(network))
    else:
        assert ClusterEndpoint.public_and_private(str(network)).public_cidrs == (str(network),)


@given(NETWORKS.filter(lambda network: network.prefixlen < 32))
def test_refuses_an_address_within_a_network(network: ipaddress.IPv4Network) -> None:
    address = f"{network[-1]}/{network.prefixlen}"
    with pytest.raises(ValueError, match=f"'{address}': an address within the network '{network}'"):
        ClusterEndpoint.public_and_private(address)


@pytest.mark.parametrize(
    ("cidrs", "says"),
    [
        ((), "cidrs has 0 networks: 1 to 40, such as '203.0.113.0/24'; everybody is '0.0.0.0/0'"),
        (tuple(f"203.0.113.{each}/32" for each in range(41)), "cidrs has 41 networks: 1 to 40"),
        (("office",), "cidrs has 'office': an IPv4 network"),
        (("203.0.113.0/33",), "cidrs has '203.0.113.0/33': an IPv4 network"),
        (("2001:db8::/32",), "cidrs has '2001:db8::/32': an IPv4 network"),
        ((1,), "cidrs is 1: networks one by one"),
        (
            (["203.0.113.0/24"],),
            "cidrs is ['203.0.113.0/24']: networks one by one, such as '203.0.113.0/24', '198.51",
        ),
        (("203.0.113.0/24", "203.0.113.0/24"), "each network once"),
    ],
)
def test_refuses(cidrs: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError) as error:
        ClusterEndpoint.public_and_private(*cidrs)
    assert says in str(error.value)


@pytest.mark.parametrize(("cidr", "warnings"), [("0.0.0.0/0", 1), ("203.0.113.0/24", 0)])
def test_warns_where_everybody_reaches_it(cidr: str, warnings: int) -> None:
    stack = Stack(App(), "Service")
    access = ClusterEndpoint.public_and_private(cidr)
    SdEksCluster(stack, "Cluster", endpoint_access=access)
    found = assertions.Annotations.from_stack(stack).find_warning(
        "/Service/Cluster", assertions.Match.string_like_regexp(OPEN_TO_ALL_WARNING)
    )
    assert len(found) == warnings
