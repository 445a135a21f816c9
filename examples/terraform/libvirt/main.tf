terraform {
  required_version = ">= 1.5"
  required_providers {
    libvirt = {
      source  = "dmacvicar/libvirt"
      version = "~> 0.8.3"
    }
  }
}

provider "libvirt" {
  uri = "qemu:///system"
}

locals {
  network = "10.150.0.0/24"
  addresses = merge(
    { for i in range(var.control_planes) : "cp${i + 1}" => cidrhost(local.network, 10 + i) },
    { for i in range(var.workers) : "worker${i + 1}" => cidrhost(local.network, 20 + i) },
  )
}

resource "libvirt_network" "cluster" {
  name      = "kubewright"
  mode      = "nat"
  addresses = [local.network]
  dhcp {
    enabled = true
  }
}

resource "libvirt_volume" "base" {
  name   = "kubewright-base.qcow2"
  source = var.image
}

resource "libvirt_volume" "disk" {
  for_each       = local.addresses
  name           = "${each.key}.qcow2"
  base_volume_id = libvirt_volume.base.id
  size           = 40 * 1024 * 1024 * 1024
}

resource "libvirt_cloudinit_disk" "init" {
  for_each = local.addresses
  name     = "${each.key}-init.iso"
  user_data = join("\n", ["#cloud-config", yamlencode({
    hostname = each.key
    users = [{
      name                = "kubewright"
      sudo                = "ALL=(ALL) NOPASSWD:ALL"
      shell               = "/bin/bash"
      ssh_authorized_keys = [trimspace(file(pathexpand("${var.ssh_key_file}.pub")))]
    }]
  })])
}

resource "libvirt_domain" "machine" {
  for_each  = local.addresses
  name      = each.key
  vcpu      = 2
  memory    = var.memory
  autostart = true
  cloudinit = libvirt_cloudinit_disk.init[each.key].id

  cpu {
    mode = "host-passthrough"
  }
  disk {
    volume_id = libvirt_volume.disk[each.key].id
  }
  network_interface {
    network_id     = libvirt_network.cluster.id
    hostname       = each.key
    addresses      = [each.value]
    wait_for_lease = true
  }
  console {
    type        = "pty"
    target_type = "serial"
    target_port = "0"
  }
}
