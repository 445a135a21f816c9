// Command kubewright turns bare Linux hosts into a Kubernetes cluster.
package main

import (
	"os"

	"kubewright/internal/cli"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "dev"

func main() {
	os.Exit(cli.Main(version, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
