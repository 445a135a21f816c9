// Command gen writes the reference of the files a user writes: a JSON schema of each, for editors,
// and pages to read. They are made from the Go types of packages spec, inventory and
// inventory/terraform, from the comments on their fields and from the rules on inventories of other
// forms, so that they cannot say anything else than the program does.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"kubewright/inventory"
	"kubewright/inventory/terraform"
	"kubewright/spec"
)

func main() {
	root := flag.String("root", ".", "folder of go.mod")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(root, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the content of the generated files by path below the root of the module.
func generate(root string) (map[string][]byte, error) {
	docs, err := readComments(filepath.Join(root, "spec"), filepath.Join(root, "inventory"), filepath.Join(root, "inventory", "terraform"))
	if err != nil {
		return nil, err
	}
	clusterFile, inventoryFile := reflect.TypeFor[spec.File](), reflect.TypeFor[inventory.File]()
	clusterSchema, err := schema(clusterFile, docs, "cluster.yaml of kubewright")
	if err != nil {
		return nil, err
	}
	inventorySchema, err := schema(inventoryFile, docs, "inventory of kubewright")
	if err != nil {
		return nil, err
	}
	outputSchema, err := schema(reflect.TypeFor[terraform.Contract](), docs, "value of the Terraform output kubewright")
	if err != nil {
		return nil, err
	}
	page, err := markdown(docs, []file{
		{Title: "The cluster file", Type: clusterFile}, {Title: "The inventory file", Type: inventoryFile},
	})
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"docs/reference/cluster.schema.json":   clusterSchema,
		"docs/reference/inventory.schema.json": inventorySchema,
		"docs/reference/terraform.schema.json": outputSchema,
		"docs/reference/cluster.md":            page,
		"docs/reference/inventories.md":        inventoriesPage(),
	}, nil
}
