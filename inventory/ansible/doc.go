// Package ansible reads inventories of Ansible, as Kubespray uses them, into those of kubewright: INI,
// YAML and executable files, or a folder of them, with the group_vars and host_vars beside them.
//
// The facts about the formats are those of Ansible's documentation ("How to build your inventory", the
// ini and yaml inventory plugins, "Using variables") and of Kubespray's (docs/ansible/inventory.md,
// docs/ansible/vars.md).
package ansible
