"""Names the modules that hold the fixtures; nothing is defined here."""

pytest_plugins = [
    "tests.support.issuer",
    "tests.support.postgres",
    "tests.support.supabase",
    "tests.support.bucket",
    "tests.support.build",
    "tests.support.system",
    "tests.support.command",
    "tests.support.doctor",
]
