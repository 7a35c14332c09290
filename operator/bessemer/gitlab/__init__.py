"""The door to GitLab: which jobs wait, the runners of pools, and the events that GitLab sends."""
