"""What a row of the table says."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

REFERENCE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_"
MANAGED = "https://docs.aws.amazon.com/aws-managed-policy/latest/reference/"

VERSIONS_OF_A_FUNCTION = (
    "A version or an alias of a function is a resource of its own, named after a colon. Only the "
    "functions that the framework is made for are named."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wildcard:
    """What a policy allows with a wildcard in an action or a resource.

    Attributes:
        who: Whose policy it is, in words.
        where: Path of the construct that holds the policy; ``*`` stands for any text.
        actions: The actions.
        resources: The resources, with references as ``{path of the construct.attribute}``.
        conditions: Operators and keys of the conditions under which it is allowed.
        reason: Why it is no narrower.
        documentation: Where AWS, or Karpenter, says so.
    """

    who: str
    where: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    reason: str
    documentation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ManagedPolicy:
    """A policy that AWS keeps, attached to a role. Such policies have wildcards of AWS's own.

    Attributes:
        who: Whose role it is, in words.
        where: Path of the role; ``*`` stands for any text.
        policy: Name of the policy, with its path.
        reason: Why it is attached.
        documentation: Where AWS asks for it.
    """

    who: str
    where: str
    policy: str
    reason: str
    documentation: str

    def is_at(self, where: str) -> bool:
        """Tell whether it is about a role."""
        return fnmatchcase(where, self.where)
