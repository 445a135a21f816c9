variable "control_planes" {
  description = "How many control planes: 1, or 3 for high availability."
  type        = number
  default     = 3
}

variable "workers" {
  description = "How many workers."
  type        = number
  default     = 2
}

variable "ssh_key_file" {
  description = "Path of the private key for logging in; the public one is beside it, as FILE.pub."
  type        = string
  default     = "~/.ssh/id_ed25519"
}

variable "datacenter" {
  type = string
}

variable "compute_cluster" {
  type = string
}

variable "datastore" {
  type = string
}

variable "network" {
  description = "Port group of the machines."
  type        = string
}

variable "template" {
  description = "A Linux template with VMware Tools, sshd, and the public key of ssh_key_file for ssh_user, who may use sudo without a password."
  type        = string
}

variable "ssh_user" {
  type    = string
  default = "kubewright"
}

variable "cidr" {
  description = "Network of the machines. Control planes get the addresses from .10 on, workers those from .20 on."
  type        = string
  default     = "192.0.2.0/24"
}

variable "gateway" {
  type    = string
  default = "192.0.2.1"
}

variable "dns_servers" {
  type    = list(string)
  default = ["192.0.2.1"]
}
