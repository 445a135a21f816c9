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

variable "region" {
  description = "Region of AWS."
  type        = string
  default     = "eu-central-1"
}

variable "admin_cidr" {
  description = "Where SSH and the API may be reached from: the address of your own network, such as 198.51.100.7/32."
  type        = string
}

variable "instance_type" {
  description = "Type of the instances."
  type        = string
  default     = "t3.medium"
}
