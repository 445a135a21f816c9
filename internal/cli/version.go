package cli

import (
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"kubewright/internal/catalog"
)

// versionDocument is the JSON form of version.
type versionDocument struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
	// Kubernetes lists the supported minors, oldest first.
	Kubernetes []string `json:"kubernetes"`
}

func newVersionCommand(version string) *cobra.Command {
	var output format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the versions of Kubernetes that are supported",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			releases, err := catalog.Default()
			if err != nil {
				return err
			}
			d := versionDocument{
				Version: version, GoVersion: runtime.Version(),
				Platform: runtime.GOOS + "/" + runtime.GOARCH, Kubernetes: releases.Minors(),
			}
			return output.write(cmd.OutOrStdout(), result{document: d, text: lines([]string{
				"kubewright " + d.Version,
				"built with " + d.GoVersion + " for " + d.Platform,
				"Kubernetes " + strings.Join(d.Kubernetes, ", "),
			})})
		},
	}
	output.add(cmd)
	return cmd
}
