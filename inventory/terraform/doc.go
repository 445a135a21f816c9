// Package terraform reads the hosts of a cluster from the outputs of a Terraform configuration: from
// the output kubewright, whose value is an inventory, or from those that KubeOne reads. It reads
// bytes and runs nothing.
package terraform
