"""The whole service on this machine: emulated AWS, the app's own template, real agents.

`service.LocalService` puts it together from its parts: `synthesis` runs the CDK app, `emulator` is
AWS (mended by `shim`), `deployment` deploys what `template` leaves, `publishing` uploads models and
`agents` runs the runtimes' agents as processes. `cli`, `model_cli` and `demo` are its commands.
"""
