output "kubewright" {
  description = "The hosts of the cluster."
  value = {
    apiVersion = "kubewright.io/v1alpha1"
    kind       = "Inventory"
    defaults = {
      ssh = { user = var.ssh_user, keyFile = var.ssh_key_file, knownHosts = ["known_hosts"], trustOnFirstUse = true }
    }
    hosts = [for name, machine in vsphere_virtual_machine.machine : {
      name    = name
      address = machine.default_ip_address
      roles   = [startswith(name, "cp") ? "control-plane" : "worker"]
    }]
  }
}
