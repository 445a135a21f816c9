output "kubewright" {
  description = "The hosts of the cluster."
  value = {
    apiVersion = "kubewright.io/v1alpha1"
    kind       = "Inventory"
    defaults = {
      ssh = { user = "kubewright", keyFile = var.ssh_key_file, knownHosts = ["known_hosts"], trustOnFirstUse = true }
    }
    hosts = [for name, machine in libvirt_domain.machine : {
      name    = name
      address = machine.network_interface[0].addresses[0]
      roles   = [startswith(name, "cp") ? "control-plane" : "worker"]
    }]
  }
}
