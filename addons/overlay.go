package addons

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// overlayFolder holds the kustomization of an addon.
const overlayFolder = "overlay"

// upstreamFile is what the upstream manifest is called in a kustomization.
const upstreamFile = "upstream.yaml"

// definitions is the kind that goes around kustomize: nine tenths of a manifest are definitions, and hardly an
// overlay changes one.
const definitions = "CustomResourceDefinition"

// overlay is the kustomization of an addon: files by name, each a template over Params.
type overlay map[string]*template.Template

// loadOverlay reads the overlay below the folder of an addon; nil where there is none.
func loadOverlay(fsys fs.FS, folder string) (overlay, error) {
	files, err := fs.Glob(fsys, path.Join(folder, overlayFolder, "*"))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	o := overlay{}
	for _, file := range files {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		t, err := parseTemplate(path.Base(file), string(data))
		if err != nil {
			return nil, err
		}
		o[path.Base(file)] = t
	}
	if o["kustomization.yaml"] == nil {
		return nil, errors.New("the overlay has no kustomization.yaml")
	}
	return o, nil
}

// parseTemplate reads a file of an overlay. What it prints is JSON, and so one YAML value whatever it
// contains: nothing in Params can become structure.
func parseTemplate(name, text string) (*template.Template, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{quoting: asJSON}).Parse(text)
	if err != nil {
		return nil, err
	}
	for _, defined := range t.Templates() {
		quoteAll(defined.Tree, defined.Root)
	}
	return t, nil
}

// quoting is the function that every action of an overlay ends with.
const quoting = "json"

func asJSON(value any) (string, error) {
	data, err := json.Marshal(value)
	return string(data), err
}

// quoteAll ends every action below a node that prints with the function quoting.
func quoteAll(tree *parse.Tree, list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				command := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier(quoting).SetTree(tree).SetPos(n.Pos)}}
				n.Pipe.Cmds = append(n.Pipe.Cmds, command)
			}
		case *parse.IfNode:
			quoteAll(tree, n.List)
			quoteAll(tree, n.ElseList)
		case *parse.RangeNode:
			quoteAll(tree, n.List)
			quoteAll(tree, n.ElseList)
		case *parse.WithNode:
			quoteAll(tree, n.List)
			quoteAll(tree, n.ElseList)
		}
	}
}

// build makes the objects of an addon out of the upstream manifest, nil for none, and its overlay, which changes
// the definitions of some names.
func (o overlay) build(p Params, upstream []*unstructured.Unstructured, defined []string) ([]*unstructured.Unstructured, error) {
	if o == nil {
		return upstream, nil
	}
	files := filesys.MakeFsInMemory()
	for name, t := range o {
		var out bytes.Buffer
		if err := t.Execute(&out, p); err != nil {
			return nil, err
		}
		if err := files.WriteFile(name, out.Bytes()); err != nil {
			return nil, err
		}
	}
	var whole []*unstructured.Unstructured
	var changed bytes.Buffer
	for _, object := range upstream {
		if object.GetKind() == definitions && !slices.Contains(defined, object.GetName()) {
			whole = append(whole, object)
			continue
		}
		data, err := object.MarshalJSON()
		if err != nil {
			return nil, err
		}
		changed.WriteString("---\n")
		changed.Write(data)
	}
	if err := files.WriteFile(upstreamFile, changed.Bytes()); err != nil {
		return nil, err
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, ".")
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
	}
	for _, resource := range built.Resources() {
		data, err := resource.MarshalJSON()
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(data); err != nil {
			return nil, fmt.Errorf("%s: %w", resource.CurId(), err)
		}
		whole = append(whole, object)
	}
	return whole, nil
}
