terraform {
  required_version = ">= 1.5"
  required_providers {
    vsphere = {
      source  = "vmware/vsphere"
      version = "~> 2.15"
    }
  }
}

# Read from the environment: VSPHERE_SERVER, VSPHERE_USER and VSPHERE_PASSWORD.
provider "vsphere" {}

locals {
  addresses = merge(
    { for i in range(var.control_planes) : "cp${i + 1}" => cidrhost(var.cidr, 10 + i) },
    { for i in range(var.workers) : "worker${i + 1}" => cidrhost(var.cidr, 20 + i) },
  )
}

data "vsphere_datacenter" "dc" {
  name = var.datacenter
}

data "vsphere_compute_cluster" "cluster" {
  name          = var.compute_cluster
  datacenter_id = data.vsphere_datacenter.dc.id
}

data "vsphere_datastore" "disks" {
  name          = var.datastore
  datacenter_id = data.vsphere_datacenter.dc.id
}

data "vsphere_network" "nodes" {
  name          = var.network
  datacenter_id = data.vsphere_datacenter.dc.id
}

data "vsphere_virtual_machine" "template" {
  name          = var.template
  datacenter_id = data.vsphere_datacenter.dc.id
}

resource "vsphere_virtual_machine" "machine" {
  for_each         = local.addresses
  name             = each.key
  resource_pool_id = data.vsphere_compute_cluster.cluster.resource_pool_id
  datastore_id     = data.vsphere_datastore.disks.id
  num_cpus         = 2
  memory           = 4096
  guest_id         = data.vsphere_virtual_machine.template.guest_id
  firmware         = data.vsphere_virtual_machine.template.firmware
  scsi_type        = data.vsphere_virtual_machine.template.scsi_type
  enable_disk_uuid = true

  network_interface {
    network_id   = data.vsphere_network.nodes.id
    adapter_type = data.vsphere_virtual_machine.template.network_interface_types[0]
  }
  disk {
    label            = "disk0"
    size             = max(50, data.vsphere_virtual_machine.template.disks[0].size)
    thin_provisioned = true
  }
  clone {
    template_uuid = data.vsphere_virtual_machine.template.id
    customize {
      linux_options {
        host_name = each.key
        domain    = "local"
      }
      network_interface {
        ipv4_address = each.value
        ipv4_netmask = tonumber(split("/", var.cidr)[1])
      }
      ipv4_gateway    = var.gateway
      dns_server_list = var.dns_servers
    }
  }
  lifecycle {
    ignore_changes = [clone[0].template_uuid] # a newer template is no reason to make machines anew
  }
}
