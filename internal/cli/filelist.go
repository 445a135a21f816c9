package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/fault"
)

// fileDocument is the JSON form of a published file.
type fileDocument struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch,omitempty"` // none: the same for all
	URL     string `json:"url"`
	SHA256  string `json:"sha256,omitempty"`
	// Checksum is where the digest is learned from, where it is not known.
	Checksum string `json:"checksum,omitempty"`
}

func newFilesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "files", Short: "The files a cluster is made of"}
	var arches []string
	list := aboutFiles(&cobra.Command{
		Use:   "list",
		Short: "List the URL of every file the cluster is made of",
		Long: `Lists binaries, archives and manifests by their upstream URLs, and beside those whose digest this kubewright
does not know the files that it learns it from: what a site without internet needs on its mirror. Below the folder that
wget -x makes of it, source: mirror and source: directory find all.`,
		Example: `  kubewright files list -f cluster.yaml | wget -x -P mirror -i -
  kubewright files list -f cluster.yaml --arch amd64`,
	}, func(_ context.Context, c *cluster.Cluster) (result, error) { return filesResult(c, arches) })
	list.Flags().StringSliceVar(&arches, "arch", catalog.Arches(), "architectures of the hosts")
	cmd.AddCommand(list)
	return cmd
}

func filesResult(c *cluster.Cluster, arches []string) (result, error) {
	all, err := addons.Default()
	if err != nil {
		return result{}, err
	}
	documents := []fileDocument{}
	var urls []string
	add := func(url string) {
		if !slices.Contains(urls, url) { // some have a file of digests together
			urls = append(urls, url)
		}
	}
	for _, arch := range arches {
		if !slices.Contains(catalog.Arches(), arch) {
			return result{}, fault.New(fault.BadInput, "--arch: there are no binaries for %q; there are for %s", arch, strings.Join(catalog.Arches(), ", "))
		}
		for _, f := range c.Release.Files(arch) {
			if !takes(c, all, f) || slices.Contains(urls, f.URL) {
				continue
			}
			d := fileDocument{Name: f.Name, Version: f.Version, Arch: f.Arch, URL: f.URL}
			add(f.URL)
			if d.SHA256, _ = catalog.Digest(f, c.Artifacts.Digests, catalog.Lock{}); d.SHA256 == "" {
				d.Checksum = f.ChecksumURL
				add(f.ChecksumURL)
			}
			documents = append(documents, d)
		}
	}
	return result{document: documents, text: lines(urls)}, nil
}

// takes tells whether a cluster as configured needs a file: all but the manifests of addons that it has not.
func takes(c *cluster.Cluster, all []addons.Addon, f catalog.File) bool {
	enabled, some := anyEnabled(c, all, func(a addons.Addon) bool { return slices.Contains(a.Manifests(), f.Name) })
	return enabled || !some
}
