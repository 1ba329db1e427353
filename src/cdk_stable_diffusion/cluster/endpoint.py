"""Who reaches the Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError

from aws_cdk import aws_eks_v2 as eks

from .._validation import Faults, is_token

_MOST_CIDRS = 40
_EVERYBODY = "0.0.0.0/0"
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


@dataclass(frozen=True, slots=True)
class ClusterEndpoint:
    """Who reaches the Kubernetes API; made by one of its factories.

    Nodes and the functions that run kubectl always reach it from within the VPC.

    Attributes:
        public_cidrs: Addresses that reach it from the internet.
    """

    public_cidrs: tuple[str, ...]

    @classmethod
    def private(cls) -> ClusterEndpoint:
        """Only from within the VPC.

        Returns:
            The choice.
        """
        return cls(())

    @classmethod
    def public_and_private(cls, *cidrs: str) -> ClusterEndpoint:
        """From within the VPC, and from some addresses on the internet.

        Args:
            *cidrs: The addresses, 1 to 40 IPv4 networks such as "203.0.113.0/24".

        Returns:
            The choice.

        Raises:
            ValueError: Naming everything that is wrong.
        """
        faults = Faults()
        faults.check(
            1 <= len(cidrs) <= _MOST_CIDRS,
            f"cidrs has {len(cidrs)} networks: 1 to {_MOST_CIDRS}, such as '203.0.113.0/24'; "
            f"everybody is {_EVERYBODY!r}",
        )
        hint = "networks one by one, such as '203.0.113.0/24', '198.51.100.7/32'"
        for cidr in cidrs:
            if faults.check_type("cidrs", cidr, str, hint, tokens=True):
                _check_cidr(faults, cidr)
        known = [cidr for cidr in cidrs if isinstance(cidr, str) and not is_token(cidr)]
        faults.check(len(set(known)) == len(known), f"cidrs is {known}: each network once")
        faults.raise_if_any("ClusterEndpoint.public_and_private")
        return cls(cidrs)

    @property
    def is_open_to_all(self) -> bool:
        """Whether everybody on the internet reaches it."""
        return _EVERYBODY in self.public_cidrs

    def _endpoint_access(self) -> eks.EndpointAccess:
        """Return it as AWS CDK takes it."""
        if not self.public_cidrs:
            return eks.EndpointAccess.PRIVATE
        return eks.EndpointAccess.PUBLIC_AND_PRIVATE.only_from(*self.public_cidrs)


def _check_cidr(faults: Faults, cidr: str) -> None:
    if is_token(cidr):
        return
    try:
        network = IPv4Network(cidr)
    except (AddressValueError, NetmaskValueError):
        faults.check(False, f"cidrs has {cidr!r}: an IPv4 network, such as '203.0.113.0/24'")
    except ValueError:
        whole = IPv4Network(cidr, strict=False)
        faults.check(False, f"cidrs has {cidr!r}: an address within the network '{whole}'")
    else:
        faults.check(
            not any(network.subnet_of(private) for private in _PRIVATE),
            f"cidrs has {cidr!r}: a private network, which reaches the API from within the VPC",
        )
