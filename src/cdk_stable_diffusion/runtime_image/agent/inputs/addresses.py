"""Which addresses are public: a table of its own, since Python's notion differs by version.

IANA's registries of special-purpose addresses decide. Of IPv6, only global unicast (2000::/3) is
public at all, which leaves out loopback, link-local, unique local, multicast, IPv4-mapped and
IPv4-compatible addresses, NAT64 and the metadata service's fd00:ec2::254.
"""

from __future__ import annotations

import ipaddress

_SPECIAL_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a carrier's customers; also pods of some clusters
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local: the metadata service and Pod Identity are here
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo carries an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4 carries an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: str) -> bool:
    """Tell whether an address belongs to the public internet and to one host in it.

    Args:
        address: An IPv4 or IPv6 address as a resolver writes it. Anything else is not public, and
            neither is an address with a zone.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _SPECIAL_IPV4)
    if parsed.scope_id is not None:
        return False
    return parsed in _GLOBAL_UNICAST and not any(parsed in network for network in _SPECIAL_IPV6)
