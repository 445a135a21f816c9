package spec

import (
	"net/url"
	"strings"

	"kubewright/spec/strict"
)

// InventorySource is where the hosts stand: a file, or the outputs of Terraform. Written as text,
// it is the path of the file. What files there can be is in docs/reference/inventories.md, and what
// outputs in docs/reference/terraform.md.
type InventorySource struct {
	// File is the path of an inventory file, relative to this file.
	File string `yaml:"file"`
	// Terraform has the hosts described by the outputs of a Terraform configuration.
	Terraform *TerraformSource `yaml:"terraform"`
}

// TerraformSource is a Terraform configuration whose outputs describe the hosts. The outputs are
// read at each run; nothing is applied without --terraform-apply.
type TerraformSource struct {
	// Dir is the folder of the configuration (its root module), relative to this file.
	Dir string `yaml:"dir" rule:"required"`
	// Workspace is the workspace to read and to apply. Without it that of the environment variable
	// TF_WORKSPACE counts, or else the one that is selected in the folder.
	Workspace string `yaml:"workspace"`
	// VarFiles are files of variables for --terraform-apply, relative to this file.
	VarFiles []string `yaml:"varFiles"`
	// Binary is the program to run: a name to look for on the PATH, or a path relative to this
	// file. Without it terraform is taken, or tofu where there is no terraform.
	Binary string `yaml:"binary"`
}

// UnmarshalText reads the path of an inventory file.
func (s *InventorySource) UnmarshalText(text []byte) error {
	s.File = string(text)
	return nil
}

// IsZero reports whether no source is named.
func (s InventorySource) IsZero() bool { return s == InventorySource{} }

// String names the source for a message.
func (s InventorySource) String() string {
	if s.Terraform != nil {
		return strings.TrimSpace("Terraform configuration " + s.Terraform.Dir)
	}
	return "inventory file " + s.File
}

// inventory checks that there is one source, and refuses hosts, or groups, given here as well.
func (v *validator) inventory() {
	source, where := v.spec.Inventory, at("inventory")
	if source.IsZero() {
		return
	}
	if source.File != "" && v.Doc.Has(where.Key("terraform")) {
		v.SuggestKey(where.Key("terraform"), "", "hosts come from one place: keep file or terraform")
	}
	for _, key := range []string{"hosts", "groups"} {
		if v.Doc.Has(at(key)) {
			v.SuggestKey(at(key), "", "%s stands here as well as in the %s: keep one of the two", key, source)
		}
	}
	if source.Terraform != nil {
		v.terraform(where.Key("terraform"), *source.Terraform)
	}
}

func (v *validator) terraform(where strict.Path, t TerraformSource) {
	// Terraform's own rule for the names of workspaces.
	if url.PathEscape(t.Workspace) != t.Workspace {
		v.Refuse(where.Key("workspace"), "%q is no name of a workspace: those are of letters, digits, -, _ and .", t.Workspace)
	}
	for i, path := range t.VarFiles {
		if path == "" {
			v.Refuse(where.Key("varFiles").Index(i), "the path is empty; remove it or name a file")
		}
	}
}
