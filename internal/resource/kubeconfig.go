package resource

import (
	"strings"

	"kubewright/certs"
	"kubewright/internal/secret"
	"kubewright/internal/sh"
)

// Kubeconfig is a kubeconfig file, with a client certificate of its own or with the path
// of one that the kubelet rotates. It is kept while it is what was asked for.
type Kubeconfig struct {
	Path string
	Want certs.KubeconfigWant
	Env  certs.Env
}

// KubeconfigID is the ID of the kubeconfig file at path.
func KubeconfigID(path string) ID { return FileID(path) }

// ID implements Resource: on the host it is a file like any other.
func (k Kubeconfig) ID() ID { return KubeconfigID(k.Path) }

// Probes implements Resource.
func (k Kubeconfig) Probes() []sh.Probe {
	return []sh.Probe{sh.FileProbe{Path: k.Path, Content: true, Secret: true}}
}

// Diff implements Resource.
func (k Kubeconfig) Diff(v View) (Change, error) {
	got, err := v.Observed.File(k.Path)
	if err != nil {
		return Change{}, err
	}
	file := File{Path: k.Path, Mode: keyMode, Secret: true, Content: got.Content}
	verdict := certs.AssessKubeconfig(secret.Bytes(got.Content), k.Want, k.Env.Now)
	if verdict.Action == certs.Keep {
		return file.diff(got), nil
	}
	if file.Content, err = k.encode(); err != nil {
		return Change{}, err
	}
	change := file.diff(got)
	change.Reason = strings.Join(verdict.Reasons, "; ")
	for i, f := range change.Fields {
		if f.Name == "content" {
			change.Fields[i].New = verdict.Action.String() + ": " + change.Reason
		}
	}
	return change, nil
}

// Moves tells whether the file leads somewhere else now than it is to: whoever reads it will leave one
// server for another. A file that leads nowhere moves nobody.
func (k Kubeconfig) Moves(observed *sh.Answers) bool {
	got, err := observed.File(k.Path)
	if err != nil || !got.HasContent {
		return false
	}
	now, err := certs.ParseKubeconfig(secret.Bytes(got.Content))
	return err == nil && now.Server != k.Want.Server
}

func (k Kubeconfig) encode() ([]byte, error) {
	config := certs.Kubeconfig{
		Server: k.Want.Server, ClusterName: k.Want.ClusterName, User: k.Want.User,
		CAPEM: k.Want.Authority.CertPEM(), CertFile: k.Want.CertFile, KeyFile: k.Want.KeyFile,
	}
	if k.Want.CertFile == "" {
		pair, err := k.Want.Authority.Issue(k.Want.Request, k.Env)
		if err != nil {
			return nil, err
		}
		config.Client = pair
	}
	content, err := config.Encode()
	return content.Reveal(), err
}
