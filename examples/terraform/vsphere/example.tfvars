control_planes  = 3
workers         = 2
datacenter      = "dc1"
compute_cluster = "cluster1"
datastore       = "datastore1"
network         = "VM Network"
template        = "debian-13"
