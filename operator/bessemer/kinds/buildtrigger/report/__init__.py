"""What GitLab is told of the events of a trigger. Pure; :mod:`bessemer.kinds.buildtrigger.sender` sends it."""
