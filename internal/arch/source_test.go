package arch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// maxLines is where a file is refused; what is aimed at is 400.
	maxLines = 500
	// maxTestLines is the same for tests, whose tables are long and read from top to bottom.
	maxTestLines = 600
	// maxMethods is the largest interface; what needs more is several, each declared by its user.
	maxMethods = 5
	// maxParams is for functions, their context not counted; more of them are a struct.
	maxParams = 4
)

// source is one parsed file.
type source struct {
	pkg   goPackage
	path  string // from the root of the module
	fset  *token.FileSet
	file  *ast.File
	lines int
}

func (s source) test() bool      { return strings.HasSuffix(s.path, "_test.go") }
func (s source) e2e() bool       { return matches(s.pkg.own(), []string{"e2e/..."}) }
func (s source) generated() bool { return ast.IsGenerated(s.file) }
func (s source) pure() bool      { return matches(s.pkg.own(), pure) && s.pkg.Name != "main" && !s.test() }

// at returns where a node is, as an editor takes it.
func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

// sources parses every Go file of the module, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	base := root(t)
	var all []source
	for _, p := range packages(t) {
		paths, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, data, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Errorf("does not parse: %v", err)
				continue
			}
			rel, err := filepath.Rel(base, path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, source{p, rel, fset, file, strings.Count(string(data), "\n")})
		}
	}
	return all
}

// TestSource holds every file to the habits, each of them a table row of habits.
func TestSource(t *testing.T) {
	for _, s := range sources(t) {
		for _, h := range habits {
			for _, problem := range h.broken(s) {
				t.Errorf("%s: %s", problem, h.why)
			}
		}
	}
}

// A habit is something all files do, or do not do. broken returns "file:line what" for each place.
type habit struct {
	why    string
	broken func(source) []string
}

var habits = []habit{
	{"a file tells one story; split it where the story does", tooLong},
	{"what runs at import time runs in every test and cannot fail properly", initFunctions},
	{"package variables are shared state; make it a constant, a function or a field (errors and embedded files are fine)", packageVariables},
	{"connections verify whom they talk to", insecure},
	{"wait for a condition with a deadline, not for a time", sleeps},
	{"pure packages get the time passed in", clocks},
	{"return an error: a library that panics takes the report of the other hosts with it", panics},
	{"a package is named for what it provides", vagueNames},
	{"a large interface is satisfied by one type only, and mocked in no test", bigInterfaces},
	{"four parameters, then a struct", manyParams},
}

func tooLong(s source) []string {
	limit := maxLines
	if s.test() {
		limit = maxTestLines
	}
	if s.lines <= limit || s.generated() {
		return nil
	}
	return []string{fmt.Sprintf("%s has %d lines, over %d", s.path, s.lines, limit)}
}

func initFunctions(s source) []string {
	var bad []string
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			bad = append(bad, s.at(f)+" has an init function")
		}
	}
	return bad
}

func packageVariables(s source) []string {
	if s.test() || s.generated() {
		return nil
	}
	var bad []string
	for _, d := range s.file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, spec := range decl.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || embeds(decl.Doc) || embeds(v.Doc) {
				continue
			}
			for i, name := range v.Names {
				if !allowedVariable(s, v, name.Name, i) {
					bad = append(bad, fmt.Sprintf("%s variable %s", s.at(name), name.Name))
				}
			}
		}
	}
	return bad
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// allowedVariable reports whether a package may have the variable: an error, an assertion that a
// type satisfies an interface, a value computed once on demand (which cannot be assigned to by
// accident more than a function can), or, in a program, the version that the linker sets.
func allowedVariable(s source, v *ast.ValueSpec, name string, i int) bool {
	if name == "_" || (s.pkg.Name == "main" && name == "version") {
		return true
	}
	if i >= len(v.Values) {
		return false
	}
	call, ok := v.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	switch qualified(call.Fun) {
	case "errors.New", "fmt.Errorf", "fault.New":
		return strings.HasPrefix(strings.ToLower(name), "err")
	case "sync.OnceValue", "sync.OnceValues":
		return true
	default:
		return false
	}
}

// qualified returns "pkg.Name" of a selector, or "".
func qualified(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.SelectorExpr:
		if p, ok := x.X.(*ast.Ident); ok {
			return p.Name + "." + x.Sel.Name
		}
	case *ast.IndexExpr: // sync.OnceValue[T]
		return qualified(x.X)
	}
	return ""
}

// mentions returns the places where one of the selectors "pkg.Name" is used.
func mentions(s source, selectors ...string) []string {
	var bad []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if e, ok := n.(*ast.SelectorExpr); ok && slices.Contains(selectors, qualified(e)) {
			bad = append(bad, s.at(n)+" uses "+qualified(e))
		}
		return true
	})
	return bad
}

// unverified is the file with the one connection that trusts nobody yet: what comes through it is believed
// for its signature and the pinned hash, and asked again of a verified server.
const unverified = "internal/bootstrap/discovery.go"

func insecure(s source) []string {
	var bad []string
	if s.path == unverified {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if ok && (id.Name == "InsecureIgnoreHostKey" || id.Name == "InsecureSkipVerify") {
			bad = append(bad, s.at(n)+" uses "+id.Name)
		}
		return true
	})
	return bad
}

func sleeps(s source) []string {
	if s.test() || s.e2e() {
		return nil
	}
	return mentions(s, "time.Sleep")
}

func clocks(s source) []string {
	if !s.pure() {
		return nil
	}
	return mentions(s, "time.Now", "time.Since", "time.Until", "time.After", "time.NewTimer", "time.NewTicker", "time.Tick")
}

func panics(s source) []string {
	if s.test() || s.pkg.Name == "main" || s.e2e() {
		return nil
	}
	var bad []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" {
			bad = append(bad, s.at(n)+" panics")
		}
		return true
	})
	return append(bad, mentions(s, "log.Fatal", "log.Fatalf", "log.Panic", "os.Exit")...)
}

func vagueNames(s source) []string {
	vague := []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "types", "models"}
	if slices.Contains(vague, strings.TrimSuffix(s.file.Name.Name, "_test")) {
		return []string{s.path + " is in package " + s.file.Name.Name}
	}
	return nil
}

func bigInterfaces(s source) []string {
	var bad []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if i, ok := n.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
			bad = append(bad, fmt.Sprintf("%s interface of %d methods, over %d", s.at(n), i.Methods.NumFields(), maxMethods))
		}
		return true
	})
	return bad
}

func manyParams(s source) []string {
	if s.test() {
		return nil
	}
	var bad []string
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		n := f.Type.Params.NumFields()
		if n > 0 && qualified(f.Type.Params.List[0].Type) == "context.Context" {
			n--
		}
		if n > maxParams {
			bad = append(bad, fmt.Sprintf("%s %s takes %d parameters, over %d", s.at(f), f.Name.Name, n, maxParams))
		}
	}
	return bad
}

// Tools and readers find what a package is for in one place.
func TestOnePackageDoc(t *testing.T) {
	docs := make(map[string][]string)
	packagesSeen := make(map[string]goPackage)
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		packagesSeen[s.pkg.own()] = s.pkg
		if s.file.Doc != nil && s.file.Doc.Text() != "" {
			docs[s.pkg.own()] = append(docs[s.pkg.own()], s.path)
			want := "Package " + s.pkg.Name + " "
			if s.pkg.Name == "main" {
				continue // "Command x", or a sentence on what the program does
			}
			if !strings.HasPrefix(s.file.Doc.Text(), want) {
				t.Errorf("%s: the package comment does not begin with %q", s.path, want)
			}
		}
	}
	for own := range packagesSeen {
		switch found := docs[own]; len(found) {
		case 1:
		case 0:
			t.Errorf("%s has no package comment", own)
		default:
			t.Errorf("%s has %d package comments, in %s: keep one", own, len(found), strings.Join(found, ", "))
		}
	}
}

// Each habit has to notice what it is there for.
func TestHabitsBite(t *testing.T) {
	tests := map[string]struct {
		code  string
		habit func(source) []string
		want  int
	}{
		"init":               {"func init() {}", initFunctions, 1},
		"a method init":      {"type t struct{}; func (t) init() {}", initFunctions, 0},
		"map variable":       {"var modes = map[string]int{}", packageVariables, 1},
		"two in a block":     {"var (\n a = 1\n b int\n)", packageVariables, 2},
		"an error":           {`var ErrGone = errors.New("gone")`, packageVariables, 0},
		"an error by name":   {"var ErrGone = 1", packageVariables, 1},
		"an embed":           {"//go:embed x\nvar x string", packageVariables, 0},
		"embeds in a block":  {"var (\n//go:embed x\nx string\n)", packageVariables, 0},
		"an assertion":       {"var _ error = (*t)(nil)", packageVariables, 0},
		"computed once":      {"var re = sync.OnceValue(f)", packageVariables, 0},
		"a regexp":           {"var re = regexp.MustCompile(``)", packageVariables, 1},
		"version, a library": {`var version = "dev"`, packageVariables, 1},
		"host key":           {"func f() { ssh.InsecureIgnoreHostKey() }", insecure, 1},
		"tls":                {"func f() { _ = tls.Config{InsecureSkipVerify: true} }", insecure, 1},
		"sleep":              {"func f() { time.Sleep(1) }", sleeps, 1},
		"clock":              {"func f() { time.Now() }", clocks, 1},
		"panic":              {`func f() { panic("x") }`, panics, 1},
		"exit":               {`func f() { os.Exit(1) }`, panics, 1},
		"interface of 6":     {"type i interface { a(); b(); c(); d(); e(); f() }", bigInterfaces, 1},
		"interface of 5":     {"type i interface { a(); b(); c(); d(); e() }", bigInterfaces, 0},
		"five parameters":    {"func f(a, b, c, d, e int) {}", manyParams, 1},
		"ctx and four":       {"func f(ctx context.Context, a, b, c, d int) {}", manyParams, 0},
		"too long":           {strings.Repeat("\n", maxLines+1), tooLong, 1},
		"long but generated": {"// Code generated by x. DO NOT EDIT.\n" + strings.Repeat("\n", maxLines+1), tooLong, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			code := "package certs\n" + tc.code
			if strings.HasPrefix(tc.code, "// Code generated") {
				code = tc.code + "package certs\n"
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "x.go", code, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			p := goPackage{ImportPath: module + "/certs", Name: "certs"}
			s := source{p, "x.go", fset, file, strings.Count(code, "\n")}
			if got := tc.habit(s); len(got) != tc.want {
				t.Errorf("found %q, want %d", got, tc.want)
			}
		})
	}
	s := source{pkg: goPackage{ImportPath: module + "/x"}, path: "x/x.go", file: &ast.File{Name: ast.NewIdent("helpers")}}
	if got := vagueNames(s); len(got) != 1 {
		t.Errorf("package helpers: found %q, want 1", got)
	}
}
