"""What reaches machines: SSH, Ansible, Slurm, power control, network boot."""
