"""A CDK app that writes an assembly that was made before, which takes no time."""

import os
from pathlib import Path

output = Path(os.environ["CDK_OUTDIR"])
output.mkdir(exist_ok=True)
for file in Path(os.environ["ASSEMBLY"]).iterdir():
    (output / file.name).symlink_to(file)
