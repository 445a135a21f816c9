package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kubewright/certs"
	"kubewright/internal/bootstrap"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/report"
	"kubewright/inventory"
)

// Kubeconfigs of a control plane, as kubeadm has them.
const (
	adminConf             = "/etc/kubernetes/admin.conf"
	controllerManagerConf = "/etc/kubernetes/controller-manager.conf"
)

// apiFlags say how an administrator reaches the API of a cluster: on a control plane, with a kubeconfig, or from
// the operator's machine through SSH.
type apiFlags struct {
	runFlags
	kubeconfig string
}

func (f *apiFlags) add(cmd *cobra.Command) {
	f.runFlags.add(cmd)
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of an administrator (default: "+adminConf+" where there is one, else the cluster's file and SSH)")
	cmd.MarkFlagsMutuallyExclusive("kubeconfig", "file")
	cmd.MarkFlagsMutuallyExclusive("kubeconfig", "inventory")
}

// do gives work the API, and prints what it returns.
func (f *apiFlags) do(cmd *cobra.Command, work func(context.Context, bootstrap.API) (*result, error)) error {
	client, err := f.direct(cmd)
	if err != nil {
		return err
	}
	if client != nil {
		defer client.Close()
		res, err := work(cmd.Context(), bootstrap.API{Client: client})
		return printed(cmd, f.output, res, err)
	}
	r, err := f.open(cmd)
	if err != nil {
		return err
	}
	return r.do(cmd.Context(), func(ctx context.Context, r *run) (res *result, err error) {
		err = r.WithAPI(ctx, func(ctx context.Context, client *kube.Client) (err error) {
			res, err = work(ctx, bootstrap.API{Client: client})
			return err
		})
		return res, err
	})
}

// printed prints a result, if there is one, also of a command that has failed on the way.
func printed(cmd *cobra.Command, output format, res *result, err error) error {
	if res == nil {
		return err
	}
	return errors.Join(err, output.write(cmd.OutOrStdout(), *res))
}

// direct is a client by a kubeconfig; nil says that the cluster's file is to be read.
func (f *apiFlags) direct(cmd *cobra.Command) (*kube.Client, error) {
	if f.kubeconfig != "" {
		return clientOf(f.kubeconfig, "")
	}
	if cmd.Flags().Changed("file") || cmd.Flags().Changed("inventory") {
		return nil, nil
	}
	client, err := controlPlaneClient()
	if !errors.Is(err, fs.ErrNotExist) {
		return client, err
	}
	if _, err := os.Stat(f.file); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.BadInput, "there is neither %s here, as on a control plane, nor %s", adminConf, f.file).
			WithHint("run this on a control plane, or name the cluster's file with --file, or a kubeconfig with --kubeconfig")
	}
	return nil, nil
}

// controlPlaneClient is a client of the API server on this machine. Its error is fs.ErrNotExist where this is no
// control plane.
func controlPlaneClient() (*kube.Client, error) {
	own, err := os.ReadFile(controllerManagerConf) // which goes to no other server, and has few rights
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	server := ""
	if err == nil {
		k, err := certs.ParseKubeconfig(own)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", controllerManagerConf, err)
		}
		server = k.Server
	}
	return clientOf(adminConf, server)
}

// clientOf is a client by the kubeconfig in a file; server replaces the URL there, unless it is "".
func clientOf(path, server string) (*kube.Client, error) {
	content, err := os.ReadFile(expandHome(path))
	if err != nil {
		return nil, fault.Wrap(fault.BadInput, err)
	}
	client, err := kube.FromKubeconfig(content, server)
	if err != nil {
		return nil, fault.New(fault.BadInput, "%s: %w", path, err)
	}
	return client, nil
}

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "The tokens with which machines join a cluster",
		Long: `Makes, lists and deletes the bootstrap tokens with which machines join a cluster. On a control plane
they are those of its cluster; elsewhere, those of the cluster that a kubeconfig or the cluster's file names.`,
	}
	cmd.AddCommand(newTokenCreateCommand(), newTokenListCommand(), newTokenDeleteCommand())
	return cmd
}

// tokenDocument is a token in JSON.
type tokenDocument struct {
	Token string `json:"token"`
	// Expires is null for one that never does.
	Expires     *time.Time `json:"expires"`
	Description string     `json:"description"`
	Usages      []string   `json:"usages"`
	Groups      []string   `json:"groups"`
	// JoinCommand is there where it was asked for.
	JoinCommand string `json:"joinCommand,omitempty"`
}

func tokenDocumentOf(g bootstrap.Grant) tokenDocument {
	d := tokenDocument{Token: g.Token.Reveal(), Description: g.Description, Usages: append([]string{}, g.Usages...), Groups: append([]string{}, g.Groups...)}
	if !g.Expires.IsZero() {
		expires := g.Expires.UTC()
		d.Expires = &expires
	}
	return d
}

func newTokenCreateCommand() *cobra.Command {
	flags := &apiFlags{}
	var joinCommand bool
	var ttl time.Duration
	var description, certificateKey string
	cmd := &cobra.Command{
		Use:   "create [TOKEN]",
		Short: "Make a token, and print it",
		Long: `Makes a token with which machines join the cluster, and prints it, or the command line to join with. A
token may be given; otherwise a random one is made.`,
		Example: `  kubewright token create --print-join-command
  kubewright token create --ttl 2h --description 'the new rack' -f cluster.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := givenToken("TOKEN", strings.Join(args, ""))
			if err != nil {
				return err
			}
			key := ""
			if certificateKey != "" {
				given, err := givenKey(certificateKey)
				if err != nil {
					return err
				}
				if !joinCommand {
					return fault.New(fault.BadInput, "--certificate-key is for --print-join-command")
				}
				key = given.Reveal()
			}
			expires, err := expiry(ttl)
			if err != nil {
				return err
			}
			return flags.do(cmd, func(ctx context.Context, api bootstrap.API) (*result, error) {
				grant, err := api.Grant(ctx, bootstrap.JoinGrant(token, expires, description))
				if err != nil {
					return nil, err
				}
				document := tokenDocumentOf(grant)
				text := []string{document.Token}
				if joinCommand {
					at, err := api.JoinPoint(ctx, token)
					if err != nil {
						return nil, err
					}
					document.JoinCommand = at.JoinCommand(key)
					text = []string{document.JoinCommand}
				}
				return &result{document: document, text: lines(text)}, nil
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&joinCommand, "print-join-command", false, "print the whole command line to join with")
	cmd.Flags().DurationVar(&ttl, "ttl", bootstrap.TokenLifetime, "how long the token is good for; 0 is for ever")
	cmd.Flags().StringVar(&description, "description", "", "what the token is for")
	cmd.Flags().StringVar(&certificateKey, "certificate-key", "", "with --print-join-command: print the line for a control plane, with this key that init --upload-certs, or init phase upload-certs, has printed; or env:NAME or file:PATH of where it is kept")
	return cmd
}

func newTokenListCommand() *cobra.Command {
	flags := &apiFlags{}
	cmd := &cobra.Command{
		Use: "list", Short: "List the tokens of a cluster", Args: cobra.NoArgs,
		Example: `  kubewright token list -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.do(cmd, func(ctx context.Context, api bootstrap.API) (*result, error) {
				grants, err := api.Grants(ctx)
				return tokenList(grants, time.Now()), err
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// tokenList shows tokens as kubeadm does.
func tokenList(grants []bootstrap.Grant, now time.Time) *result {
	rows := [][]string{{"TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"}}
	documents := []tokenDocument{}
	shown := func(text string) string {
		if text == "" {
			return "<none>"
		}
		return report.Printable(text)
	}
	for _, g := range grants {
		documents = append(documents, tokenDocumentOf(g))
		ttl, expires := "<forever>", "<never>"
		if !g.Expires.IsZero() {
			ttl, expires = "<expired>", g.Expires.UTC().Format(time.RFC3339)
			if left := g.Expires.Sub(now); left > 0 {
				ttl = left.Round(time.Second).String()
			}
		}
		rows = append(rows, []string{g.Token.Reveal(), ttl, expires, shown(strings.Join(g.Usages, ",")), shown(g.Description), shown(strings.Join(g.Groups, ","))})
	}
	return &result{document: documents, text: lines(strings.Split(strings.TrimSuffix(aligned(rows), "\n"), "\n"))}
}

func newTokenDeleteCommand() *cobra.Command {
	flags := &apiFlags{}
	cmd := &cobra.Command{
		Use: "delete ID...", Short: "Have the cluster forget tokens",
		Long: `Has the cluster forget tokens, each given by its ID, which is what stands before the dot, or whole.
Machines that joined with a token stay.`,
		Example: `  kubewright token delete abcdef`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ids []string
			for _, arg := range args {
				id, err := bootstrap.ParseTokenID(arg)
				if err != nil {
					return fault.Wrap(fault.BadInput, err)
				}
				ids = append(ids, id)
			}
			slices.Sort(ids)
			return flags.do(cmd, func(ctx context.Context, api bootstrap.API) (*result, error) {
				var deleted []string
				var errs []error
				for _, id := range slices.Compact(ids) {
					if err := api.Revoke(ctx, id); err != nil {
						errs = append(errs, err)
						continue
					}
					deleted = append(deleted, fmt.Sprintf("token %s deleted", id))
				}
				return &result{document: map[string]int{"deleted": len(deleted)}, text: lines(deleted)}, errors.Join(errs...)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// givenToken reads the token that a flag or an argument gives, and makes one where that is "".
func givenToken(name, text string) (bootstrap.Token, error) {
	if text == "" {
		return bootstrap.NewToken()
	}
	text, err := secretFlag(name, text)
	if err != nil {
		return bootstrap.Token{}, err
	}
	token, err := bootstrap.ParseToken(text)
	if err != nil {
		return bootstrap.Token{}, fault.New(fault.BadInput, "%s: %w", name, err)
	}
	return token, nil
}

// secretFlag is the value of a flag that may say where it is kept, as env:NAME or file:PATH, so that no list of
// processes shows it.
func secretFlag(name, text string) (string, error) {
	var ref inventory.Ref
	if ref.UnmarshalText([]byte(text)) == nil {
		kept, err := resolveRef(ref)
		if err != nil {
			return "", fault.New(fault.BadInput, "%s: %w", name, err)
		}
		text = kept.Reveal()
	}
	return text, nil
}

// expiry is when something ends that is good for a time from now on; 0 is never.
func expiry(ttl time.Duration) (time.Time, error) {
	switch {
	case ttl < 0:
		return time.Time{}, fault.New(fault.BadInput, "%s is no time for a token to be good for; 0 is for ever", ttl)
	case ttl == 0:
		return time.Time{}, nil
	}
	return time.Now().Add(ttl), nil
}
