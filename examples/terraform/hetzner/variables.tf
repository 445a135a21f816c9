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

variable "location" {
  description = "Location of the servers."
  type        = string
  default     = "nbg1"
}

variable "server_type" {
  description = "Type of the servers."
  type        = string
  default     = "cx33"
}
