package cli

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"kubewright/internal/bootstrap"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
)

// joining is what machines are to join with.
type joining struct {
	token bootstrap.Token
	ttl   time.Duration
	// key is the zero key where no certificates are uploaded.
	key bootstrap.CertificateKey
}

// joining reads what the flags say of that. Secrets that nobody gives are random.
func (f *initFlags) joining() (j joining, err error) {
	if j.token, err = givenToken("--token", f.token); err != nil {
		return j, err
	}
	if _, err = expiry(f.ttl); err != nil {
		return j, fault.New(fault.BadInput, "--token-ttl: %w", err)
	}
	j.ttl = f.ttl
	if !f.uploadCerts {
		if f.certificateKey != "" {
			return j, fault.New(fault.BadInput, "--certificate-key is for --upload-certs")
		}
		return j, nil
	}
	j.key, err = f.key()
	return j, err
}

// key is the key that certificates are uploaded with.
func (f *initFlags) key() (bootstrap.CertificateKey, error) {
	if f.certificateKey == "" {
		return bootstrap.NewCertificateKey(rand.Reader)
	}
	return givenKey(f.certificateKey)
}

// admit has the cluster take machines that join, and returns how they do.
func (f *initFlags) admit(ctx context.Context, r *run, j joining) (admitted, error) {
	client, err := controlPlaneClient()
	if err != nil {
		return admitted{}, err
	}
	defer client.Close()
	api := bootstrap.API{Client: client}
	expires, err := expiry(j.ttl)
	if err != nil {
		return admitted{}, err
	}
	grant, err := api.Grant(ctx, bootstrap.JoinGrant(j.token, expires, "made by kubewright init"))
	if err != nil {
		return admitted{}, err
	}
	at, err := api.JoinPoint(ctx, j.token)
	if err != nil {
		return admitted{}, err
	}
	o := admitted{grant: grant, worker: at.JoinCommand("")}
	if f.uploadCerts {
		if err := uploadCertificates(ctx, api, j.key); err != nil {
			return admitted{}, err
		}
		o.key = j.key.Reveal()
		o.controlPlane = at.JoinCommand(o.key)
	}
	if f.withholdsSecrets {
		o.withhold()
	}
	r.emit(report.Notice, "", "token "+grant.Token.String()+" is good until "+until(grant.Expires))
	return o, nil
}

func until(t time.Time) string {
	if t.IsZero() {
		return "it is deleted"
	}
	return t.UTC().Format(time.RFC3339)
}

// admitted is how machines join from now on.
type admitted struct {
	grant                bootstrap.Grant
	worker, controlPlane string // command lines; the second is "" where no certificates were uploaded
	key                  string
}

// withheld stands in place of secrets that are not to be printed.
const withheld = "<value withheld>"

// withhold takes the secrets out of the command lines.
func (o *admitted) withhold() {
	clean := strings.NewReplacer(o.grant.Token.Reveal(), withheld)
	if o.key != "" {
		clean = strings.NewReplacer(o.grant.Token.Reveal(), withheld, o.key, withheld)
	}
	o.worker, o.controlPlane, o.key = clean.Replace(o.worker), clean.Replace(o.controlPlane), clean.Replace(o.key)
}

// initDocument is the result of init in JSON: what was done, and how machines join.
type initDocument struct {
	plan.Document
	Join *joinDocument `json:"join,omitempty"`
}

type joinDocument struct {
	Worker string `json:"worker"`
	// ControlPlane and CertificateKey are there where certificates were uploaded.
	ControlPlane   string     `json:"controlPlane,omitempty"`
	CertificateKey string     `json:"certificateKey,omitempty"`
	TokenExpires   *time.Time `json:"tokenExpires"`
}

// done says what is there now, and what to do next.
func (f *initFlags) done(r *run, p *plan.Plan, o admitted) *result {
	text := []string{
		"This machine is a control plane of the cluster " + r.cluster.Name + ".", "",
		"To use it from here, as root:", "", "  export KUBECONFIG=" + adminConf, "",
	}
	if o.controlPlane != "" {
		text = append(text, "Within two hours, other control planes join with this, as root (the key opens the cluster's authorities: keep it secret):",
			"", "  "+o.controlPlane, "",
			"After that, kubewright init phase upload-certs --upload-certs prints a new key.", "")
	}
	text = append(text, "Workers join with this, as root, until "+until(o.grant.Expires)+":", "", "  "+o.worker)
	if f.directory != "" || f.digests == "" && r.cluster.Artifacts.Source == "directory" {
		text = append(text, "", "Each takes what it installs from a folder of its own: add --artifacts-directory.")
	}
	document := initDocument{Document: p.Document(), Join: &joinDocument{Worker: o.worker, ControlPlane: o.controlPlane, CertificateKey: o.key}}
	document.Join.TokenExpires = tokenDocumentOf(o.grant).Expires
	return &result{document: document, text: lines(text)}
}
