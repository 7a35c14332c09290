"""A real Kubernetes cluster for tests and the demo, on a machine that need have none.

`choice.open_cluster` gives one: named by the user, or kind, or started from source-built components. `fixtures` has it
as pytest fixtures, `local-kubernetes` as commands.
"""
