"""``python -m cdk_stable_diffusion.runtime_image.agent.write_manifests``: for an image's build.

Writes the manifest of every model in the folder that ``SD_IMAGE_MODELS_DIRECTORY`` names, so that
the agents of the image can use them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ...contract import InvalidModel, ModelManifest
from ...contract.environment import variable_name
from ...contract.keys import MODEL_MANIFEST_NAME

VARIABLE = variable_name("image_models_directory")


def write_manifests(directory: Path) -> list[ModelManifest]:
    """Write the manifest of every model.

    Args:
        directory: Folder of the models; each is a folder in it and has its name.

    Returns:
        The manifests.

    Raises:
        ValueError: Naming everything that is wrong with any of them.
    """
    paths = sorted(path for path in directory.iterdir() if path.is_dir())
    faults = [] if paths else [f"{directory} holds no model's directory"]
    manifests = []
    for path in paths:
        try:
            manifest = ModelManifest.of_directory(path, path.name)
        except InvalidModel as error:
            faults.append(f"{path}: {error}")
            continue
        manifests.append(manifest)
    if faults:
        raise ValueError("\n".join(faults))
    for manifest in manifests:
        file = directory / manifest.name / MODEL_MANIFEST_NAME
        file.unlink(missing_ok=True)
        file.write_text(manifest.to_json(), "utf-8")
        # Whoever builds may have a umask of their own; the agent is another user.
        file.chmod(0o444)
    return manifests


def main() -> int:
    """Write them and say so.

    Returns:
        The exit status: 0, or 1 if a model cannot be used.
    """
    try:
        directory = os.environ.get(VARIABLE, "")
        if not directory:
            raise ValueError(f"{VARIABLE} is missing")
        manifests = write_manifests(Path(directory))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for manifest in manifests:
        print(f"{manifest.name}: {manifest.size} bytes, digest {manifest.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
