control_planes = 3
workers        = 2
