package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"kubewright/internal/kube"
	"kubewright/internal/report"
)

func newKubeconfigCommand() *cobra.Command {
	flags := &runFlags{}
	var to string
	var merge bool
	cmd := onCluster(flags, &cobra.Command{
		Use:   "kubeconfig",
		Short: "Get a kubeconfig for an administrator, or merge it into one",
		Long: `Issues a certificate for an administrator and prints a kubeconfig with it, writes it to a
file, or merges it into an existing kubeconfig under the name of the cluster. One control plane
that answers is enough.`,
		Example: `  kubewright kubeconfig -f cluster.yaml --to admin.conf
  kubewright kubeconfig -f cluster.yaml --merge && kubectl get nodes`,
	}, func(ctx context.Context, r *run) (*result, error) {
		content, err := r.Kubeconfig(ctx)
		if err != nil {
			return nil, err
		}
		if to == "" && !merge {
			return &result{text: func(w io.Writer) error {
				_, err := w.Write(content)
				return err
			}}, nil
		}
		if to == "" {
			to = defaultKubeconfig()
		}
		if merge {
			if content, err = merged(to, content, r.cluster.Name); err != nil {
				return nil, err
			}
		}
		if err := writeFile(to, content, 0o600); err != nil {
			return nil, err
		}
		r.emit(report.Notice, "", "wrote "+to)
		return nil, nil
	})
	cmd.Flags().StringVar(&to, "to", "", "file to write (default: print it)")
	cmd.Flags().BoolVar(&merge, "merge", false, "keep what is in the file (default file: that of kubectl)")
	return cmd
}

// merged is the content of an existing kubeconfig with the new one added.
func merged(path string, content []byte, name string) ([]byte, error) {
	existing, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out, err := kube.MergeKubeconfig(existing, content, name)
	if err != nil {
		return nil, fmt.Errorf("merge into %s: %w", path, err)
	}
	return out, nil
}

// defaultKubeconfig is where kubectl looks first.
func defaultKubeconfig() string {
	for _, path := range filepath.SplitList(os.Getenv("KUBECONFIG")) {
		if path != "" {
			return path
		}
	}
	return expandHome("~/.kube/config")
}
