terraform {
  required_version = ">= 1.5"
  required_providers {
    hcloud = {
      source  = "hetznercloud/hcloud"
      version = "~> 1.52"
    }
  }
}

# The token is read from the environment variable HCLOUD_TOKEN.
provider "hcloud" {}

resource "hcloud_ssh_key" "admin" {
  name       = "kubewright"
  public_key = file(pathexpand("${var.ssh_key_file}.pub"))
}

resource "hcloud_network" "cluster" {
  name     = "kubewright"
  ip_range = "10.0.0.0/16"
}

resource "hcloud_network_subnet" "nodes" {
  network_id   = hcloud_network.cluster.id
  type         = "cloud"
  network_zone = "eu-central"
  ip_range     = "10.0.1.0/24"
}

# Keeps control planes off each other's physical machine.
resource "hcloud_placement_group" "control_plane" {
  name = "kubewright-control-plane"
  type = "spread"
}

resource "hcloud_server" "control_plane" {
  count              = var.control_planes
  name               = "cp${count.index + 1}"
  server_type        = var.server_type
  image              = "debian-13"
  location           = var.location
  ssh_keys           = [hcloud_ssh_key.admin.id]
  placement_group_id = hcloud_placement_group.control_plane.id

  lifecycle {
    ignore_changes = [image] # a newer image is no reason to make a control plane anew
  }
}

resource "hcloud_server" "worker" {
  count       = var.workers
  name        = "worker${count.index + 1}"
  server_type = var.server_type
  image       = "debian-13"
  location    = var.location
  ssh_keys    = [hcloud_ssh_key.admin.id]

  lifecycle {
    ignore_changes = [image]
  }
}

resource "hcloud_server_network" "control_plane" {
  count     = var.control_planes
  server_id = hcloud_server.control_plane[count.index].id
  subnet_id = hcloud_network_subnet.nodes.id
  ip        = cidrhost(hcloud_network_subnet.nodes.ip_range, 10 + count.index)
}

resource "hcloud_server_network" "worker" {
  count     = var.workers
  server_id = hcloud_server.worker[count.index].id
  subnet_id = hcloud_network_subnet.nodes.id
  ip        = cidrhost(hcloud_network_subnet.nodes.ip_range, 20 + count.index)
}

resource "hcloud_load_balancer" "api" {
  name               = "kubewright-api"
  load_balancer_type = "lb11"
  location           = var.location
}

resource "hcloud_load_balancer_network" "api" {
  load_balancer_id = hcloud_load_balancer.api.id
  subnet_id        = hcloud_network_subnet.nodes.id
}

resource "hcloud_load_balancer_target" "api" {
  count            = var.control_planes
  type             = "server"
  load_balancer_id = hcloud_load_balancer.api.id
  server_id        = hcloud_server.control_plane[count.index].id
  use_private_ip   = true
  depends_on       = [hcloud_load_balancer_network.api, hcloud_server_network.control_plane]
}

resource "hcloud_load_balancer_service" "api" {
  load_balancer_id = hcloud_load_balancer.api.id
  protocol         = "tcp"
  listen_port      = 6443
  destination_port = 6443
}
