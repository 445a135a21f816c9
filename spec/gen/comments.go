package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// comments holds the doc comments of struct types ("inventory.Host") and of their fields
// ("inventory.Host.Name"), each as one line.
type comments map[string]string

// readComments parses the Go files, tests left out, of package folders.
func readComments(folders ...string) (comments, error) {
	docs := comments{}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			path := filepath.Join(folder, e.Name())
			parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			docs.read(parsed)
		}
	}
	return docs, nil
}

func (c comments) read(file *ast.File) {
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range general.Specs {
			t, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			fields, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			name := file.Name.Name + "." + t.Name.Name
			doc := t.Doc
			if doc == nil {
				doc = general.Doc
			}
			c[name] = oneLine(doc.Text())
			for _, f := range fields.Fields.List {
				for _, id := range f.Names {
					c[name+"."+id.Name] = oneLine(f.Doc.Text())
				}
			}
		}
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// typeDoc is the comment on a type, with its name replaced by what the reader calls it.
func (c comments) typeDoc(t reflect.Type, called string) (string, error) {
	return c.find(t.String(), t.Name(), called)
}

// fieldDoc is the comment on a field, with its name replaced by its key.
func (c comments) fieldDoc(t reflect.Type, field reflect.StructField, key string) (string, error) {
	return c.find(t.String()+"."+field.Name, field.Name, key)
}

func (c comments) find(id, name, called string) (string, error) {
	doc, ok := c[id]
	if !ok || doc == "" {
		return "", fmt.Errorf("%s has no comment to make its documentation from", id)
	}
	rest, ok := strings.CutPrefix(doc, name+" ")
	if !ok {
		return "", fmt.Errorf("the comment on %s does not begin with its name", id)
	}
	return called + " " + rest, nil
}
