package certs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubewright/internal/secret"
)

// PartialError says that a host has some of the bundle's files and lacks others.
type PartialError struct {
	Host    string
	Missing []string
}

// Error names the host and the missing files.
func (e *PartialError) Error() string {
	return fmt.Sprintf("host %s: /etc/kubernetes/pki has some certificate authority files but lacks %s; "+
		"restore them from a backup or another control-plane host, or reset the host if it never ran a cluster",
		e.Host, strings.Join(e.Missing, ", "))
}

// UnusableError says that files of the bundle were found on a host but cannot be used.
type UnusableError struct {
	Host, File string
	Err        error
}

// Error names the host and the file.
func (e *UnusableError) Error() string {
	return fmt.Sprintf("host %s: /etc/kubernetes/pki/%s: %v; restore it from a backup or another "+
		"control-plane host before going on", e.Host, e.File, e.Err)
}

// Unwrap returns what is wrong with the file.
func (e *UnusableError) Unwrap() error { return e.Err }

// ConflictError says that two hosts have different authorities (or service account keys).
type ConflictError struct {
	File                string
	HostA, FingerprintA string
	HostB, FingerprintB string
}

// Error names the file, both hosts, and what each of them has.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("two different clusters: /etc/kubernetes/pki/%s is %s on host %s but %s on host %s; "+
		"take the wrong host out of the inventory or reset it", e.File, e.FingerprintA, e.HostA, e.FingerprintB, e.HostB)
}

// Adopt decides which bundle the cluster has, from the files found on every control-plane host.
//
//   - No host has any: nil and no error; the caller generates one.
//   - A host has all of them: that bundle. Hosts without any, and hosts with a part of the very
//     same files (a run was interrupted there), receive the rest.
//   - Two hosts differ, files are unusable, or no host has all: an error for every such host, of
//     type *ConflictError, *UnusableError or *PartialError, joined.
//
// Files of the authorities that the bundle is without are not looked at.
func Adopt(hosts map[string]HostFiles, without ...AuthorityName) (*Bundle, error) {
	var faults []error
	var whole, partial []found
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		it, err := inspect(host, hosts[host], without)
		switch {
		case err != nil:
			faults = append(faults, err)
		case it.bundle != nil:
			whole = append(whole, it)
		case len(it.prints) > 0:
			partial = append(partial, it)
		}
	}
	faults = append(faults, conflicts(slices.Concat(whole, partial))...)
	if len(whole) == 0 {
		for _, it := range partial {
			faults = append(faults, &PartialError{Host: it.host, Missing: it.missing})
		}
	}
	if len(faults) > 0 || len(whole) == 0 {
		return nil, errors.Join(faults...)
	}
	return whole[0].bundle, nil
}

// found is what one host has of the bundle.
type found struct {
	host    string
	bundle  *Bundle           // nil unless all files are there
	prints  map[string]string // file name to fingerprint of its meaning
	missing []string
}

// inspect reads the files of one host. Files that belong together are checked together.
func inspect(host string, files HostFiles, without []AuthorityName) (found, error) {
	it := found{host: host, prints: map[string]string{}}
	for _, name := range BundleFiles(without...) {
		content, ok := files[name]
		if !ok {
			if name != serviceAccountPublic || it.prints[serviceAccountKey] == "" {
				it.missing = append(it.missing, name)
			}
			continue
		}
		fingerprint, err := meaning(name, content)
		if err != nil {
			return found{}, &UnusableError{Host: host, File: name, Err: err}
		}
		it.prints[name] = fingerprint
	}
	bundle := &Bundle{}
	for _, name := range authorityNames(without...) {
		certificate, key := string(name)+".crt", string(name)+".key"
		if it.prints[certificate] == "" || it.prints[key] == "" {
			continue
		}
		authority, err := ParseAuthority(files[certificate], files[key])
		if err != nil {
			return found{}, &UnusableError{Host: host, File: certificate, Err: err}
		}
		bundle.set(name, authority)
	}
	if it.prints[serviceAccountKey] != "" {
		pair, err := parseServiceAccount(files)
		if err != nil {
			return found{}, &UnusableError{Host: host, File: serviceAccountPublic, Err: err}
		}
		bundle.ServiceAccount = pair
	}
	if len(it.missing) == 0 {
		it.bundle = bundle
	}
	return it, nil
}

// meaning returns a fingerprint of what a file says; line ends and PEM headers do not matter.
// That of a key is the one of its public half.
func meaning(name string, content secret.Bytes) (string, error) {
	switch {
	case strings.HasSuffix(name, ".crt"):
		all, err := parseCertificates(content.Reveal())
		if err != nil {
			return "", err
		}
		var der []byte
		for _, certificate := range all {
			der = append(der, certificate.Raw...)
		}
		return fingerprint(der), nil
	case strings.HasSuffix(name, ".key"):
		key, err := parseKey(content)
		if err != nil {
			return "", err
		}
		public, err := encodePublicKey(key.Public())
		return fingerprint(public), err
	default:
		key, err := parsePublicKey(content.Reveal())
		if err != nil {
			return "", err
		}
		public, err := encodePublicKey(key)
		return fingerprint(public), err
	}
}

// conflicts compares every host with the first one that has the same file, and returns one error
// for each host that differs: the first file, since the others usually differ as well.
func conflicts(all []found) []error {
	var errs []error
	for i, other := range all {
		if err := conflict(all[:i], other); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func conflict(earlier []found, other found) error {
	for _, name := range BundleFiles() {
		for _, first := range earlier {
			a, b := first.prints[name], other.prints[name]
			if a != "" && b != "" && a != b {
				return &ConflictError{File: name, HostA: first.host, FingerprintA: a, HostB: other.host, FingerprintB: b}
			}
		}
	}
	return nil
}
