package terraform

import (
	"kubewright/inventory"
	"kubewright/spec"
)

// OutputName is the output that this package reads.
const OutputName = "kubewright"

// Contract is the value of the output: an inventory file written in HCL, and what only
// Terraform knows of the way to the API servers.
type Contract struct {
	// APIVersion is the version of this contract.
	APIVersion string `yaml:"apiVersion" rule:"required,enum=kubewright.io/v1alpha1"`
	// Kind says that this is an inventory.
	Kind string `yaml:"kind" rule:"required,enum=Inventory"`
	// ControlPlane says how clients outside reach the API servers.
	ControlPlane spec.Access `yaml:"controlPlane"`
	// Defaults hold for every host, unless one of its groups or the host itself says otherwise.
	Defaults inventory.Defaults `yaml:"defaults"`
	// Groups are settings that several hosts share; a host names its groups.
	Groups map[string]inventory.GroupSpec `yaml:"groups"`
	// Hosts are the machines of the cluster. Their order has no meaning.
	Hosts []inventory.HostSpec `yaml:"hosts" rule:"required"`
}

// Output is an output as `terraform output -json` wraps its value.
type Output struct {
	// Sensitive says that Terraform keeps the value out of what it prints.
	Sensitive bool `yaml:"sensitive"`
	// Type is the type of the value in Terraform's notation; it is not looked at.
	Type any `yaml:"type"`
}

// document is what is decoded of the outputs where there is the output kubewright.
type document struct {
	Kubewright struct {
		Output `yaml:",inline"`
		Value  Contract `yaml:"value" rule:"required"`
	} `yaml:"kubewright"`
}
