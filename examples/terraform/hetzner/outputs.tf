output "kubewright" {
  description = "The hosts of the cluster, and the load balancer before its API servers."
  value = {
    apiVersion   = "kubewright.io/v1alpha1"
    kind         = "Inventory"
    controlPlane = { endpoint = "${hcloud_load_balancer.api.ipv4}:6443" }
    defaults = {
      ssh = { keyFile = var.ssh_key_file, knownHosts = ["known_hosts"], trustOnFirstUse = true }
    }
    hosts = concat(
      [for i, machine in hcloud_server.control_plane : {
        name    = machine.name
        address = machine.ipv4_address
        nodeIP  = hcloud_server_network.control_plane[i].ip
        roles   = ["control-plane"]
      }],
      [for i, machine in hcloud_server.worker : {
        name    = machine.name
        address = machine.ipv4_address
        nodeIP  = hcloud_server_network.worker[i].ip
        roles   = ["worker"]
      }],
    )
  }
}
