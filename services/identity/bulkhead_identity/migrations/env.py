from bulkhead_kit.migrations import run_environment

run_environment("identity")
