package main

import (
	"bytes"
	_ "embed"
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// introduction is the part of the page that does not follow from the types.
//
//go:embed introduction.md
var introduction []byte

// file is a kind of file to document.
type file struct {
	Title string
	Type  reflect.Type
}

// pageWriter writes the reference page: a section for each struct type, at the first place where
// it can stand; the other places refer to it.
type pageWriter struct {
	bytes.Buffer
	docs     comments
	sections map[reflect.Type]string // anchor of the section of a type
	pending  []section
}

type section struct {
	t      reflect.Type
	path   string // such as spec.hosts[]
	called string // what the reader calls such a value
}

func markdown(docs comments, files []file) ([]byte, error) {
	w := &pageWriter{docs: docs, sections: map[reflect.Type]string{}}
	w.Write(introduction)
	for _, f := range files {
		if err := w.file(f); err != nil {
			return nil, err
		}
	}
	return w.Bytes(), nil
}

func (w *pageWriter) file(f file) error {
	fmt.Fprintf(w, "\n## %s\n", f.Title)
	w.pending = []section{{t: f.Type, called: "This file"}}
	for len(w.pending) > 0 {
		next := w.pending[0]
		w.pending = w.pending[1:]
		if err := w.section(next); err != nil {
			return err
		}
	}
	return nil
}

func (w *pageWriter) section(s section) error {
	doc, err := w.docs.typeDoc(s.t, s.called)
	if err != nil {
		return err
	}
	if s.path != "" {
		fmt.Fprintf(w, "\n### `%s`\n", s.path)
	}
	fmt.Fprintf(w, "\n%s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", sentence(doc))
	var nested []section
	for _, f := range strict.Fields(s.t) {
		doc, err := w.docs.fieldDoc(s.t, s.t.FieldByIndex(f.Index), f.Name)
		if err != nil {
			return err
		}
		path := strings.TrimPrefix(s.path+"."+f.Name, ".")
		kind, below := w.kind(f.Type, f.Rule, path, "`"+f.Name+"`")
		nested = append(nested, below...)
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", f.Name, kind, defaultOf(f.Rule), meaning(doc, f.Name))
	}
	w.pending = append(nested, w.pending...)
	return nil
}

// kind says what a value is, and lists the section that its type needs, if it has none yet.
func (w *pageWriter) kind(t reflect.Type, rule strict.Rule, path, called string) (string, []section) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[inventory.Ref]():
		return "`env:NAME` or `file:PATH`", nil
	case t == reflect.TypeFor[inventory.Taint]():
		return "`key=value:Effect` or `key:Effect`", nil
	case strict.EitherWay(t):
		link, below := w.reference(t, path, called)
		return "text or " + link, below
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return t.Name(), nil
	}
	switch t.Kind() {
	case reflect.Slice:
		kind, below := w.kind(t.Elem(), rule, path+"[]", "An item of "+called)
		return "list of " + kind, below
	case reflect.Map:
		kind, below := w.kind(t.Elem(), rule, path+".NAME", "An entry of "+called)
		return "mapping of text to " + kind, below
	case reflect.Struct:
		return w.reference(t, path, called)
	case reflect.Interface:
		return "anything", nil
	case reflect.Bool:
		return "`true` or `false`", nil
	case reflect.Int:
		return "whole number", nil
	default:
		if len(rule.Enum) > 0 {
			return "`" + strings.Join(rule.Enum, "`, `") + "`", nil
		}
		return "text", nil
	}
}

// reference links to the section of a struct type, which is written here if it is nowhere yet.
func (w *pageWriter) reference(t reflect.Type, path, called string) (string, []section) {
	if anchor, ok := w.sections[t]; ok {
		return "[" + publicName(t) + "](#" + anchor + ")", nil
	}
	w.sections[t] = anchorOf(path)
	link := "[" + publicName(t) + "](#" + w.sections[t] + ")"
	return link, []section{{t: t, path: path, called: called}}
}

// anchorOf is the anchor that a heading `path` gets.
func anchorOf(path string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '[' || r == ']' {
			return -1
		}
		return r
	}, strings.ToLower(path))
}

func defaultOf(rule strict.Rule) string {
	switch {
	case rule.Required:
		return "required"
	case rule.Default != "":
		return "`" + rule.Default + "`"
	default:
		return ""
	}
}

// meaning is the comment on a field without its key, which stands in the same row.
func meaning(doc, key string) string {
	doc = strings.TrimPrefix(doc, key+" ")
	for _, verb := range []string{"is ", "are "} {
		doc = strings.TrimPrefix(doc, verb)
	}
	return sentence(strings.ReplaceAll(doc, "|", "\\|"))
}

func sentence(s string) string {
	if s == "" || s[0] == '`' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
