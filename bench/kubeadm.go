package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"text/template"

	"kubewright/e2e/lab"
)

//go:embed files/bare.sh
var bareScript string

//go:embed files/kubeadm.sh
var kubeadmScript string

//go:embed files/*.yaml.tmpl
var kubeadmFiles embed.FS

// ignored is the check of kubeadm whose errors are warnings here: it refuses control groups of the first
// version, which containers have where the machine has.
const ignored = "SystemVerification"

// kubeadmConfig is what kubeadm is told about one node.
type kubeadmConfig struct {
	Address        netip.Addr
	Kubernetes     string
	Endpoint       string
	Token          string
	CertificateKey string
	EtcdTag        string
	DNSTag         string
	CAHash         string
	ControlPlane   bool
}

// byKubeadm is kubeadm init on the first control plane, and kubeadm join on each other node. The endpoint
// is the first control plane itself: a load balancer would be more to start.
func byKubeadm(ctx context.Context, t *testbed) (func(context.Context, *clock) error, error) {
	config, err := t.kubeadmConfig(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.onAll(ctx, t.state.Nodes, "kubeadm", fmt.Sprintf("url='%s'\n", t.kubeadmURL())+bareScript+kubeadmScript); err != nil {
		return nil, err
	}
	return func(ctx context.Context, c *clock) error {
		planes, workers := t.nodes(lab.RoleControlPlane), t.nodes(lab.RoleWorker)
		out, err := t.kubeadm(ctx, planes[0], "init", config)
		if err != nil {
			return err
		}
		c.lap("init " + planes[0].Name)
		if config.CAHash, err = caHash(out); err != nil {
			return err
		}
		config.ControlPlane = true
		for _, n := range planes[1:] {
			if _, err := t.kubeadm(ctx, n, "join", config); err != nil {
				return err
			}
			c.lap("join " + n.Name)
		}
		config.ControlPlane = false
		err = sideBySide(workers, func(n lab.Node) error { _, err := t.kubeadm(ctx, n, "join", config); return err })
		c.lap("join the workers")
		return err
	}, nil
}

// kubeadm runs one of its commands on a node. The configuration goes there on stdin: no secret is in a
// command line.
func (t *testbed) kubeadm(ctx context.Context, node lab.Node, verb string, config kubeadmConfig) (out string, err error) {
	config.Address = node.Address
	rendered, err := renderKubeadm(verb+".yaml.tmpl", config)
	if err != nil {
		return "", err
	}
	flags, after := "", ""
	if verb == "init" {
		flags = " --upload-certs --skip-token-print --skip-certificate-key-print"
		after = "cat /etc/kubernetes/pki/ca.crt\n"
	}
	return t.on(ctx, node.Name, "kubeadm-"+verb, "kubeadm "+verb+" --config /dev/fd/3 --ignore-preflight-errors="+ignored+flags+
		" </dev/null 3<<'CONFIG'\n"+rendered+"CONFIG\n"+after)
}

func renderKubeadm(name string, config kubeadmConfig) (string, error) {
	all, err := template.New(name).ParseFS(kubeadmFiles, "files/"+name)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = all.Execute(&out, config)
	return out.String(), err
}

// kubeadmConfig is what all nodes have in common.
func (t *testbed) kubeadmConfig(ctx context.Context) (kubeadmConfig, error) {
	images, err := t.images(ctx)
	if err != nil {
		return kubeadmConfig{}, err
	}
	const idBytes, secretBytes, keyBytes = 3, 8, 32 // by the forms of a bootstrap token and an AES-256 key
	random := make([]byte, idBytes+secretBytes+keyBytes)
	if _, err := rand.Read(random); err != nil {
		return kubeadmConfig{}, err
	}
	text := hex.EncodeToString(random)
	const id, secret = 2 * idBytes, 2 * (idBytes + secretBytes)
	return kubeadmConfig{
		Kubernetes: t.kubernetes, EtcdTag: tag(images["etcd"]), DNSTag: tag(images["coredns"]),
		Endpoint: netip.AddrPortFrom(t.nodes(lab.RoleControlPlane)[0].Address, 6443).String(),
		Token:    text[:id] + "." + text[id:secret], CertificateKey: text[secret:],
	}, nil
}

// tag is what follows the name of an image.
func tag(image string) string { return image[strings.LastIndex(image, ":")+1:] }

// kubeadmURL is where nodes get kubeadm from: upstream, or the lab's mirror of it.
func (t *testbed) kubeadmURL() string {
	host := "https://dl.k8s.io"
	if t.state.Mirror != nil {
		host = "http://" + t.state.Mirror.String() + "/dl.k8s.io"
	}
	return fmt.Sprintf("%s/release/v%s/bin/linux/%s/kubeadm", host, t.kubernetes, runtime.GOARCH)
}

// caHash is the pin of the cluster's authority, whose certificate is in what was said.
func caHash(said string) (string, error) {
	block, _ := pem.Decode([]byte(said))
	if block == nil {
		return "", errors.New("there is no certificate of the cluster's authority after kubeadm init")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("reading the certificate of the cluster's authority: %w", err)
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(ca.RawSubjectPublicKeyInfo)), nil
}
