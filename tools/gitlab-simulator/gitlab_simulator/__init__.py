"""A GitLab to test against: the runner protocol, the parts of the APIs that Bessemer uses, and webhooks, in memory.

It says nothing about a real GitLab: it is written from GitLab's public documentation and sources; see README.md.
"""
