control_planes = 3
workers        = 2
admin_cidr     = "198.51.100.7/32"
