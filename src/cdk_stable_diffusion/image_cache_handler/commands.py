"""The commands that pull images on a Bottlerocket host.

They run in its control container, where the Systems Manager agent is. From there `apiclient` runs a
program in the admin container, whose `sheltie` runs a program on the host.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_SOCKET = "/run/containerd/containerd.sock"
_NAMESPACE = "k8s.io"
_REGISTRY_SETTINGS = "/etc/host-containers/host-ctr.toml"

# The kubelet deletes images that no pod uses when the disk is nearly full, but no pinned ones.
_PINNED = "io.cri-containerd.pinned=pinned"

_PREPARE = (
    "set -eu",
    # The commands must not read the script from standard input.
    'host() { apiclient exec admin sheltie "$@" </dev/null; }',
    f'containerd() {{ host ctr --address {_SOCKET} --namespace {_NAMESPACE} "$@"; }}',
    # The agent can be there before the admin container is.
    "attempts=0",
    "until apiclient exec admin true </dev/null; do"
    ' attempts=$((attempts + 1)); [ "$attempts" -lt 30 ] || exit 1; sleep 5; done',
    # All that a program on the host says comes out of standard output, but what is reported of a
    # failed command is standard error.
    "said=$(mktemp)",
    "pull() { "
    f"host /usr/bin/host-ctr --containerd-socket={_SOCKET} --namespace={_NAMESPACE} pull-image"
    f' --source="$1" --registry-config={_REGISTRY_SETTINGS} --label={_PINNED} >"$said" 2>&1; }}',
)

_START_CLEAN = (
    # Masked, since systemd starts a kubelet again that is only stopped.
    "host systemctl mask --runtime --now kubelet.service",
    'for image in $(containerd images ls --quiet); do containerd images rm --sync "$image"; done',
)


def pull_commands(images: Sequence[str], *, lifetime_minutes: int) -> list[str]:
    """Return the commands, one a line of one shell script.

    Credentials for Amazon ECR are none of the script's business, so that none can be read in the
    history of Systems Manager: `host-ctr` has them from the role of the instance.

    Args:
        images: Names of the images, as `ImageReference.name` returns them.
        lifetime_minutes: After how many minutes the host ends itself, whatever becomes of the rest.

    Returns:
        The commands. They fail unless every image is complete and unpacked.
    """
    return [
        *_PREPARE,
        # One guard of several, so the others must do if it cannot be set.
        f"host shutdown -P +{lifetime_minutes} || echo 'no shutdown is scheduled' >&2",
        *_START_CLEAN,
        *(_pull(image) for image in images),
        "ready=$(containerd images check --quiet)",
        *(_check(image) for image in images),
    ]


def _pull(image: str) -> str:
    quoted = shlex.quote(image)
    return f'pull {quoted} || pull {quoted} || {{ tail -n 20 "$said" >&2; exit 1; }}'


def _check(image: str) -> str:
    quoted = shlex.quote(image)
    return (
        f"printf '%s\\n' \"$ready\" | grep -Fqx {quoted} || "
        f"{{ echo not complete: {quoted} >&2; exit 1; }}"
    )
