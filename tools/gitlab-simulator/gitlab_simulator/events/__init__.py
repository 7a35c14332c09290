"""What webhooks are told: one module for each kind of event.

Source: https://docs.gitlab.com/user/project/integrations/webhook_events/, lib/gitlab/data_builder of GitLab's sources.
"""
