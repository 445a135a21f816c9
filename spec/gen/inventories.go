package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"

	"kubewright/inventory/ansible"
	"kubewright/inventory/csv"
)

// aboutInventories is the part of the page on inventories that does not follow from the rules.
//
//go:embed inventories.md
var aboutInventories []byte

// inventoriesPage is the reference of the inventories that are not of our own form.
func inventoriesPage() []byte {
	var host, cluster, nothing [][2]string
	for _, r := range ansible.Rules() {
		names := "`" + strings.Join(r.Names, "`, `") + "`"
		switch {
		case r.To == "":
			nothing = append(nothing, [2]string{names, r.Note})
		case strings.HasPrefix(r.To, "spec.") || strings.HasPrefix(r.To, "metadata."):
			cluster = append(cluster, [2]string{names, becomes(r)})
		default:
			host = append(host, [2]string{names, becomes(r)})
		}
	}
	b := bytes.NewBuffer(bytes.Clone(aboutInventories))
	table := func(title, second string, rows [][2]string) {
		fmt.Fprintf(b, "### %s\n\n| variable | %s |\n|---|---|\n", title, second)
		for _, row := range rows {
			fmt.Fprintf(b, "| %s | %s |\n", row[0], row[1])
		}
		b.WriteString("\n")
	}
	table("Variables of hosts", "becomes, in an inventory", host)
	table("Variables of the cluster", "becomes, in a cluster file", cluster)
	table("Variables without effect", "why", nothing)
	b.WriteString(`A variable that is none of these is ignored where it switches something off or belongs to Ansible, to
another container engine or network plugin, or to something that kubewright has never heard of, and
unsupported where it asks Kubespray for something that kubewright does not do.

## Tables

A line a host, after a line with the names of the columns, which are the keys of a host in an
[inventory](cluster.md#the-inventory-file). Commas, semicolons or tabs separate; values with these in
them stand between quotes. Lines that begin with # are comments. In a list, blanks, commas, semicolons
or bars separate the items; labels are written as key=value. Groups need no declaration.

    name,address,roles,groups,labels,ssh.user
    cp1,192.0.2.10,control-plane,rack-a,,ops
    worker1,192.0.2.11,worker,rack-a gpu,disk=ssd,ops

The columns: `)
	fmt.Fprintf(b, "`%s`.\n", strings.Join(csv.Columns(), "`, `"))
	return b.Bytes()
}

func becomes(r ansible.Rule) string {
	text := "`" + r.To + "`"
	if r.Note != "" {
		text += ": " + r.Note
	}
	return strings.ReplaceAll(text, "|", "\\|")
}
