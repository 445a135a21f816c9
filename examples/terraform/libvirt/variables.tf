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

variable "image" {
  description = "Cloud image to start from: a path, or a URL."
  type        = string
  default     = "https://cloud.debian.org/images/cloud/trixie/latest/debian-13-generic-amd64.qcow2"
}

variable "memory" {
  description = "Memory of each machine in MiB."
  type        = number
  default     = 4096
}
