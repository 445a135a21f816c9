package templates

import (
	"bytes"
	"embed"
	"fmt"
	"strings"
	"sync"
	"text/template"
)

//go:embed files
var files embed.FS

// parsed are the templates of files, by their names.
var parsed = sync.OnceValues(func() (*template.Template, error) {
	return template.New("files").Option("missingkey=error").Funcs(template.FuncMap{
		"quote":   quote,
		"arg":     quoteContainerArg,
		"unit":    quoteUnitWord,
		"literal": literal,
	}).ParseFS(files, "files/*.tmpl")
})

// render executes files/<name> with data, which is a struct: a field that does not exist is an
// error, and so is a value that a quoting function refuses.
func render(name string, data any) ([]byte, error) {
	all, err := parsed()
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	var out bytes.Buffer
	if err := all.ExecuteTemplate(&out, name, data); err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// literal writes a document as a YAML block scalar, the value of a key, with its lines indented by n
// spaces. A last line that is empty counts: the text that the document ends with may end so.
func literal(n int, document []byte) string {
	pad := strings.Repeat(" ", n)
	var out strings.Builder
	out.WriteByte('|')
	if bytes.HasSuffix(document, []byte("\n\n")) {
		out.WriteByte('+')
	}
	out.WriteByte('\n')
	for line := range strings.Lines(string(document)) {
		if strings.TrimRight(line, "\n") != "" {
			out.WriteString(pad)
		}
		out.WriteString(line)
	}
	return strings.TrimSuffix(out.String(), "\n")
}
