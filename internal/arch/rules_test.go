package arch_test

// A rule binds packages of this module and names what they must not import. Patterns are import
// paths, those of this module without its name; "x/..." is x and everything below it.
type rule struct {
	who     []string
	except  []string // packages that the rule does not bind
	mustNot []string
	but     []string // imports that are fine although mustNot names them
	why     string
}

// pure are the packages that compute: the same input gives the same output, on any machine, at any
// time. What a run will do can then be tested as a table, without hosts, and a plan can be trusted.
var pure = []string{
	"spec/...", "inventory/...", "cluster/...", "certs/...", "templates/...", "addons/...",
	"internal/sh", "internal/resource/...", "internal/plan", "internal/catalog", "internal/facts",
	"internal/check", "internal/secret", "internal/fault", "internal/taint", "internal/membership",
	"internal/objects",
}

// impure are the packages through which the outside world is reached, and what composes them.
var impure = []string{
	"cmd/...", "e2e/...", "bench", "phases/...", "vagrant/...",
	"internal/cli/...", "internal/engine/...", "internal/bootstrap", "internal/host/...", "internal/ssh/...",
	"internal/etcd/...", "internal/kube/...", "internal/terraform/...", "internal/artifact/...",
	"internal/sh/shtest", "internal/manifest",
}

// rules of imports. Only direct imports are looked at: every package of the module is bound by
// them, so what a rule keeps out cannot come in through another package of ours either.
var rules = []rule{
	{
		who: pure, mustNot: []string{"net/...", "crypto/tls"}, but: []string{"net/netip", "net/url"},
		why: "pure packages compute with addresses (net/netip), they do not open connections",
	},
	{
		who: pure, mustNot: []string{"os/...", "syscall", "golang.org/x/sys/...", "golang.org/x/term"},
		why: "pure packages take bytes and return bytes; files, environment and processes belong to internal/cli and the IO packages",
	},
	{
		who: pure, mustNot: []string{"path/filepath"},
		why: "paths in pure packages are those of a Linux host, whatever the operator's machine is: use path",
	},
	{
		who: pure, mustNot: []string{"crypto/rand", "math/rand/..."},
		why: "randomness is passed in, so that tests repeat and plans do not differ by themselves",
	},
	{
		who: pure,
		mustNot: []string{
			"k8s.io/client-go/...", "go.etcd.io/etcd/client/...", "google.golang.org/grpc/...",
			"golang.org/x/crypto/ssh/...", "github.com/pkg/sftp", "github.com/hashicorp/terraform-exec/...",
			"golang.org/x/net/...",
		},
		why: "pure packages know the data of an API, not its client",
	},
	{
		who: pure, mustNot: append([]string{"internal/report/..."}, impure...),
		why: "a pure package that imports one with IO is not pure any more; it returns values, and its caller reports",
	},
	{
		who: []string{"..."}, except: []string{"cmd/...", "internal/cli/..."}, mustNot: []string{"github.com/spf13/..."},
		why: "flags are the business of internal/cli; everything else takes typed values and can be used without a command line",
	},
	{
		who: []string{"..."}, except: []string{"cmd/..."}, mustNot: []string{"internal/cli"},
		why: "cmd > cli > engine > host: nothing but the process entry sits above the command line",
	},
	{
		who: []string{"..."}, except: []string{"e2e/...", "internal/cli/...", "bench"}, mustNot: []string{"e2e/..."},
		why: "the product does not depend on its tests; only the lab command and the benchmarks drive the lab",
	},
	{
		who:     []string{"..."},
		except:  []string{"cmd/...", "internal/cli/...", "internal/engine/...", "e2e/..."},
		mustNot: []string{"internal/engine/..."},
		why:     "phases and resources say what must be true and do not know how it is carried out",
	},
	{
		who:     []string{"..."},
		except:  []string{"internal/cli/...", "internal/ssh/...", "e2e/...", "bench"},
		mustNot: []string{"internal/ssh/...", "golang.org/x/crypto/ssh/...", "github.com/pkg/sftp"},
		why:     "everything above works on host.Conn, which may as well be the local machine or a test's host",
	},
	{
		who:     []string{"internal/ssh/...", "internal/host/..."},
		mustNot: []string{"phases", "cluster", "spec/...", "inventory/...", "templates", "internal/plan", "internal/resource", "k8s.io/..."},
		why:     "a connection carries bytes; it knows nothing of Kubernetes or of what is being made",
	},
	{
		who:     []string{"internal/sh", "internal/host/...", "internal/ssh/...", "internal/fault", "internal/secret", "internal/report/..."},
		mustNot: []string{"phases", "cluster", "spec/...", "inventory/...", "templates/...", "internal/catalog", "internal/facts", "k8s.io/..."},
		why:     "the floor that the rest stands on knows nothing of clusters",
	},
	{
		who:     []string{"internal/resource", "internal/sh"},
		mustNot: []string{"cluster", "phases", "templates", "addons/...", "k8s.io/..."},
		why:     "a resource is one thing on one host; what a cluster needs of it is the phases' knowledge",
	},
	{
		who: []string{"internal/report/trace"}, mustNot: []string{"os/...", "net/...", "text/template", "path/filepath", "internal/ssh/...", "internal/host/..."},
		why: "what is told of a run is computed from its events; texts of hosts become HTML through html/template, which escapes them",
	},
	{
		who: []string{"spec/...", "inventory/..."}, mustNot: []string{"cluster", "phases", "templates"},
		why: "cluster > {spec, inventory, catalog}: what the user writes does not know what is made of it",
	},
	{
		who: []string{"cluster"}, mustNot: []string{"phases", "templates", "internal/resource", "internal/plan"},
		why: "the model is read by phases and templates, not the other way round",
	},
	{
		who:     []string{"..."},
		except:  []string{"internal/manifest"},
		mustNot: []string{"helm.sh/helm/..."},
		why:     "one package renders the charts that users bring",
	},
	{
		who:     []string{"..."},
		except:  []string{"internal/manifest", "internal/kube"},
		mustNot: []string{"oras.land/oras-go/..."},
		why:     "two packages reach into OCI registries: for the charts that users bring, and to try the registry of a cluster",
	},
	{
		who:     []string{"..."},
		except:  []string{"internal/manifest", "addons"},
		mustNot: []string{"sigs.k8s.io/kustomize/..."},
		why:     "kustomizations are built in two places: those of users from their files, our overlays from memory",
	},
	{
		who:     []string{"internal/manifest"},
		mustNot: []string{"internal/kube", "internal/host/...", "phases", "cluster", "spec/...", "net", "os/exec"},
		why:     "what an addon is depends on its source and the release only, on no cluster and no host",
	},
	{
		who: []string{"..."}, except: []string{"internal/terraform/..."}, mustNot: []string{"github.com/hashicorp/terraform-exec/..."},
		why: "one package runs Terraform",
	},
	{
		who: []string{"..."}, except: []string{"internal/etcd/...", "e2e/..."}, mustNot: []string{"go.etcd.io/etcd/client/..."},
		why: "one package talks to etcd, through the connection of a host",
	},
	{
		who: []string{"..."}, except: []string{"internal/kube/...", "e2e/..."}, mustNot: []string{"k8s.io/client-go/..."},
		why: "one package talks to the API server, through the connection of a host",
	},
	{
		who:     []string{"..."},
		mustNot: []string{"io/ioutil", "github.com/pkg/errors", "github.com/hashicorp/go-multierror", "go.uber.org/multierr", "github.com/stretchr/testify/...", "github.com/sirupsen/logrus"},
		why:     "the standard library does it: io, os, errors.Join, testing with go-cmp, events",
	},
	{
		// internal/manifest keeps Helm and kustomize from printing there.
		who: []string{"..."}, except: []string{"cmd/...", "e2e/...", "internal/manifest"}, mustNot: []string{"log"},
		why: "libraries emit events and return errors, they do not print",
	},
}
