package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"kubewright/certs"
	"kubewright/internal/bootstrap"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/phases"
)

// skip turns --skip-phases into the phases that are left. The preflight checks are made in any case.
func (f *initFlags) skip() error {
	if len(f.skipped) == 0 {
		return nil
	}
	skipped, err := phases.Find(kubeadmPhases(f.skipped))
	if err != nil {
		return fault.New(fault.BadInput, "--skip-phases: %w", err)
	}
	if skipped["preflight"] {
		return fault.New(fault.BadInput, "--skip-phases: the preflight checks cannot be left out").WithHint("--ignore-preflight-errors names checks whose refusal stops nothing")
	}
	f.phases = slices.DeleteFunc(phases.Names(phases.All()), func(name string) bool { return skipped[name] })
	return nil
}

// kubeadmPhases are names of phases, those of kubeadm's addons in our words.
func kubeadmPhases(names []string) []string {
	ours := map[string]string{"addon/kube-proxy": "kube-proxy", "addon/coredns": "dns"}
	translated := slices.Clone(names)
	for i, name := range names {
		if own, ok := ours[name]; ok {
			translated[i] = own
		}
	}
	return translated
}

// uploadPhase is the one phase of init that apply does not have.
const uploadPhase = "upload-certs"

func newInitPhaseCommand() *cobra.Command {
	flags := &initFlags{}
	cmd := &cobra.Command{
		Use:   "phase NAME",
		Short: "Do one phase of init on this machine",
		Long: `Does one phase of init, which is what the phases before it have prepared: see init phase list. The flags
are those of init. The phase upload-certs, with --upload-certs, encrypts the cluster's authorities with a new key
and prints it: for two hours, control planes can join with it.`,
		Example: `  kubewright init phase list
  kubewright init phase kubeconfigs --config cluster.yaml
  kubewright init phase upload-certs --upload-certs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := asRoot(cmd); err != nil {
				return err
			}
			if args[0] == uploadPhase {
				return flags.upload(cmd)
			}
			if flags.uploadCerts || flags.certificateKey != "" {
				return fault.New(fault.BadInput, "--upload-certs and --certificate-key are for init phase %s", uploadPhase)
			}
			if flags.phases = kubeadmPhases(args); flags.phases[0] == "preflight" {
				flags.dryRun = true // whose plan is shown when nothing is refused
			}
			r, err := flags.start(cmd)
			if err != nil {
				return err
			}
			return r.do(cmd.Context(), func(ctx context.Context, r *run) (*result, error) {
				if flags.dryRun {
					return dryRun(ctx, r)
				}
				return applied(flags.apply(ctx, r))
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.uploadCerts, "upload-certs", false, "for "+uploadPhase+": that it is meant")
	cmd.Flags().StringVar(&flags.certificateKey, "certificate-key", "", "for "+uploadPhase+": the key to encrypt with (default: a random one)")
	cmd.AddCommand(newInitPhaseListCommand())
	return cmd
}

// upload uploads certificates, and prints the key.
func (f *initFlags) upload(cmd *cobra.Command) error {
	if !f.uploadCerts {
		return fault.New(fault.BadInput, "the phase %s uploads the cluster's authorities, encrypted, only with --upload-certs", uploadPhase)
	}
	key, err := f.key()
	if err != nil {
		return err
	}
	client, err := controlPlaneClient()
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.BadInput, "this machine is no control plane: %w", err)
	}
	if err != nil {
		return err
	}
	defer client.Close()
	if f.dryRun {
		return fault.New(fault.BadInput, "--dry-run: the phase %s has nothing to show", uploadPhase)
	}
	name, err := f.name()
	if err != nil {
		return err
	}
	d, err := tells(cmd.Context(), client, name)
	if err != nil {
		return err
	}
	c, _, err := f.clusterOf(cmd.Context(), d, name)
	if err != nil {
		return err
	}
	if err := takesControlPlanes(c); err != nil {
		return err
	}
	if err := uploadCertificates(cmd.Context(), bootstrap.API{Client: client}, key); err != nil {
		return err
	}
	return f.output.write(cmd.OutOrStdout(), result{
		document: map[string]string{"certificateKey": key.Reveal()},
		text: func(w io.Writer) error {
			_, err := fmt.Fprintln(w, key.Reveal())
			return err
		},
	})
}

func newInitPhaseListCommand() *cobra.Command {
	cmd := newPhasesListCommand(plan.Phase{Name: uploadPhase, Short: "encrypted authorities in the API, for control planes that join"})
	cmd.Short = "List the phases of init in order"
	return cmd
}

// uploadCertificates encrypts the authorities of this control plane.
func uploadCertificates(ctx context.Context, api bootstrap.API, key bootstrap.CertificateKey) error {
	var files []certs.File
	for _, name := range certs.BundleFiles() {
		content, err := os.ReadFile(filepath.Join(engine.PKIDir, name))
		if err != nil {
			return fault.New(fault.Preflight, "an authority of this machine: %w", err).WithHint("certificates are uploaded from a control plane")
		}
		files = append(files, certs.File{Name: name, Content: content})
	}
	return api.UploadCertificates(ctx, bootstrap.Upload{Key: key, Files: files, Now: time.Now(), Rand: rand.Reader})
}
