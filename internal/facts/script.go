package facts

import _ "embed"

//go:embed facts.sh
var script string

// Script returns the POSIX shell script that prints the report which [Parse]
// reads. It only looks, leaves no variable or function behind, and runs in
// dash, bash and busybox sh.
func Script() string { return script }
