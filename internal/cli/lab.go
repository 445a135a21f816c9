package cli

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"kubewright/e2e/lab"
	"kubewright/internal/fault"
)

// labFlags are the flags that all lab commands have.
type labFlags struct {
	name, dir, engine string
}

// newLabCommand makes `kubewright lab`: hosts to try kubewright on, without machines.
func newLabCommand() *cobra.Command {
	flags := &labFlags{}
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Local lab of systemd nodes to try kubewright on",
		Long: `Makes bare Linux hosts on this machine: containers of podman (or Docker) that boot systemd
and sshd on a network of their own, and the cluster.yaml and inventory to build a cluster on them.
It needs root. Everything it makes carries the lab's name and goes with "lab down".`,
		Example: `  kubewright lab up --workers 2
  kubewright apply -f .lab/cluster.yaml
  kubewright lab ssh worker1 -- systemctl --failed
  kubewright lab node stop worker1
  kubewright lab node remove cp1
  kubewright lab down`,
		Args: cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&flags.name, "name", "", "name of the lab (default: that of the lab in --dir, or "+lab.DefaultName+")")
	cmd.PersistentFlags().StringVar(&flags.dir, "dir", lab.DefaultDir, "folder of the lab's files")
	cmd.PersistentFlags().StringVar(&flags.engine, "engine", "", "podman or docker (default: what is there)")
	cmd.AddCommand(newLabUpCommand(flags), newLabDownCommand(flags), newLabStatusCommand(flags),
		newLabSSHCommand(flags), newLabNodeCommand(flags))
	return cmd
}

// open finds the lab that the flags mean: the one in the folder, unless a name says otherwise.
// Its state is that of the folder, or the zero State.
func (f *labFlags) open(cmd *cobra.Command) (*lab.Lab, lab.State, error) {
	engine, err := lab.ParseEngine(f.engine)
	if err != nil {
		return nil, lab.State{}, fault.Wrap(fault.BadInput, err)
	}
	state, err := lab.ReadState(f.dir)
	if err != nil && !errors.Is(err, lab.ErrNoLab) && f.name == "" {
		return nil, lab.State{}, fault.Wrap(fault.BadInput, err)
	}
	if f.name != "" && f.name != state.Name {
		state = lab.State{}
	}
	f.name = cmp.Or(f.name, state.Name, lab.DefaultName)
	started := time.Now()
	l, err := lab.Open(cmd.Context(), lab.Options{
		Engine: cmp.Or(engine, state.Engine), Runner: lab.OSRunner{}, Rand: rand.Reader, Now: time.Now,
		Notify: func(line string) {
			fmt.Fprintf(cmd.ErrOrStderr(), "[%5.1fs] %s\n", time.Since(started).Seconds(), line)
		},
	})
	return l, state, err
}

// labUpFlags are the flags of `lab up` as they were typed. What was not, stays as the lab has it.
type labUpFlags struct {
	controlPlanes, etcd, workers                int
	vip, addons                                 bool
	subnet, login, artifacts, kubernetesVersion string
	timeout                                     time.Duration
}

func newLabUpCommand(flags *labFlags) *cobra.Command {
	up := &labUpFlags{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the nodes, or those that are missing, and switch on those that are off",
		Long: `Makes the nodes, or those that are missing, and switches on those that are off or paused.
Of a lab that exists, what is not said on the command line stays as it is, and so do nodes
beyond the numbers asked for. Where there are too few, the lowest free numbers are made: without
cp1, three control planes are had by making cp1 again, new and at the address it had.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, state, err := flags.open(cmd)
			if err != nil {
				return err
			}
			up.keep(state, cmd.Flags().Changed)
			cfg, err := up.config(flags, state)
			if err != nil {
				return fault.Wrap(fault.BadInput, err)
			}
			state, err = l.Up(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "lab %s: %d nodes up; next: kubewright apply -f %s\n",
				state.Name, len(state.Nodes), filepath.Join(cfg.Dir, "cluster.yaml"))
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&up.controlPlanes, "control-planes", 1, "control planes there must be at least")
	f.IntVar(&up.etcd, "etcd", 0, "hosts of etcd's own there must be at least; without any, it runs on the control planes")
	f.IntVar(&up.workers, "workers", 2, "workers there must be at least")
	f.BoolVar(&up.vip, "vip", false, "give the cluster a virtual IP of the lab's network")
	f.BoolVar(&up.addons, "addons", false, "give the cluster load balancers, volumes, metrics and a registry of images")
	f.StringVar(&up.subnet, "subnet", "", "the lab's network (default "+lab.DefaultSubnet+")")
	f.StringVar(&up.login, "login", "", "how the inventory logs in: root, sudo or sudo-password (default root)")
	f.StringVar(&up.artifacts, "artifacts", "", "folder made by e2e/artifacts to serve to the nodes; empty for upstream")
	f.StringVar(&up.kubernetesVersion, "kubernetes-version", "", "version in cluster.yaml (default "+lab.DefaultKubernetesVersion+")")
	f.DurationVar(&up.timeout, "timeout", lab.DefaultBootTimeout, "how long the nodes get to boot")
	return cmd
}

// keep fills what was not typed, and whose empty value means something, from a lab that exists.
func (up *labUpFlags) keep(state lab.State, typed func(flag string) bool) {
	if !typed("artifacts") {
		up.artifacts = state.Artifacts
	}
	if !typed("vip") {
		up.vip = state.VIP != nil
	}
	if !typed("addons") {
		up.addons = state.Addons
	}
	if len(state.Nodes) == 0 {
		return
	}
	if !typed("control-planes") {
		up.controlPlanes = 1 // no more than there are: the numbers are what there must be at least
	}
	if !typed("workers") {
		up.workers = 0
	}
}

// config fills what was not typed from the lab that exists, then from the defaults.
func (up *labUpFlags) config(flags *labFlags, state lab.State) (lab.Config, error) {
	cfg := lab.Config{
		Name: flags.name, Dir: flags.dir, ControlPlanes: up.controlPlanes, Etcd: up.etcd, Workers: up.workers,
		Subnet: state.Subnet, VIP: up.vip, Addons: up.addons,
		Login:             cmp.Or(lab.Login(up.login), state.Login, lab.LoginRoot),
		Artifacts:         up.artifacts,
		KubernetesVersion: cmp.Or(up.kubernetesVersion, state.KubernetesVersion, lab.DefaultKubernetesVersion),
		BootTimeout:       up.timeout,
		CacheDir:          cacheDir(),
	}
	var err error
	if up.subnet != "" || !cfg.Subnet.IsValid() {
		if cfg.Subnet, err = netip.ParsePrefix(cmp.Or(up.subnet, lab.DefaultSubnet)); err != nil {
			return cfg, fmt.Errorf("--subnet: %w", err)
		}
	}
	if cfg.Artifacts != "" {
		if cfg.Artifacts, err = filepath.Abs(cfg.Artifacts); err != nil {
			return cfg, fmt.Errorf("--artifacts: %w", err)
		}
	}
	return cfg, nil
}

func newLabDownCommand(flags *labFlags) *cobra.Command {
	var images bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the lab: nodes, disks, network and files",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, _, err := flags.open(cmd)
			if err != nil {
				return err
			}
			if err := l.Down(cmd.Context(), flags.name, flags.dir); err != nil || !images {
				return err
			}
			return l.RemoveImages(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&images, "images", false, "remove the node images too, which all labs share")
	return cmd
}

func newLabStatusCommand(flags *labFlags) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes, their addresses, and whether they run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return fault.New(fault.BadInput, "--output %q: want text or json", output)
			}
			l, _, err := flags.open(cmd)
			if err != nil {
				return err
			}
			nodes, err := l.Status(cmd.Context(), flags.name)
			if err != nil {
				return err
			}
			return writeLabStatus(cmd.OutOrStdout(), output, nodes)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// writeLabStatus writes the nodes as a table, or as a JSON array.
func writeLabStatus(w io.Writer, output string, nodes []lab.NodeStatus) error {
	if output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(append([]lab.NodeStatus{}, nodes...)) // no nodes are [], not null
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NODE\tADDRESS\tROLE\tSTATE")
	for _, n := range nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", n.Name, n.Address, n.Role, n.Power)
	}
	return table.Flush()
}

func newLabSSHCommand(flags *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "ssh NODE [-- COMMAND...]",
		Short: "Log in to a node, or run a command there",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			state, err := lab.ReadState(flags.dir)
			if err != nil {
				return fault.Wrap(fault.BadInput, err)
			}
			argv, err := lab.SSH(flags.dir, state, args[0], args[1:])
			if err != nil {
				return fault.Wrap(fault.BadInput, err)
			}
			program, err := exec.LookPath(argv[0])
			if err != nil {
				return fault.New(fault.Preflight, "lab ssh needs OpenSSH's client: %w: apt-get install -y openssh-client", err)
			}
			// In place of this process: terminal, signals and exit code are ssh's own.
			return fmt.Errorf("running ssh: %w", syscall.Exec(program, argv, os.Environ()))
		},
	}
}
