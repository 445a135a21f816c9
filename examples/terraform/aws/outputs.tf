output "kubewright" {
  description = "The hosts of the cluster, and the load balancer before its API servers."
  value = {
    apiVersion   = "kubewright.io/v1alpha1"
    kind         = "Inventory"
    controlPlane = { endpoint = "${aws_lb.api.dns_name}:6443" }
    defaults = {
      ssh = { user = "ubuntu", keyFile = var.ssh_key_file, knownHosts = ["known_hosts"], trustOnFirstUse = true }
    }
    hosts = concat(
      [for machine in aws_instance.control_plane : {
        name    = machine.tags.Name
        address = machine.public_ip
        nodeIP  = machine.private_ip
        roles   = ["control-plane"]
        labels  = { "topology.kubernetes.io/region" = var.region, "topology.kubernetes.io/zone" = machine.availability_zone }
      }],
      [for machine in aws_instance.worker : {
        name    = machine.tags.Name
        address = machine.public_ip
        nodeIP  = machine.private_ip
        roles   = ["worker"]
        labels  = { "topology.kubernetes.io/region" = var.region, "topology.kubernetes.io/zone" = machine.availability_zone }
      }],
    )
  }
}
