// Package certs is the public key infrastructure of a cluster as data: which certificates exist,
// what each must say, whether one that was found still says it, and how to issue a new one.
//
// The package is pure. It reads no file, no clock and no network: files come in as bytes, time and
// randomness come in with Env. Names, subjects, usages and the file layout are those of kubeadm
// (cmd/kubeadm/app/phases/certs and .../kubeconfig of Kubernetes 1.37), so that its tools find
// what they expect.
//
// # Policy
//
//   - A certificate authority lives ten years, everything it signs one year, or less when the
//     authority itself ends earlier.
//   - NotBefore is five minutes in the past: a host whose clock runs a little behind accepts a new
//     certificate at once.
//   - A certificate is renewed when less than a quarter of its life is left: about three months of
//     a year. The quarter is one of the shorter of its own life and the wanted one, because kubeadm
//     back-dates what it signs to the birth of the authority.
//   - Subject, alternative names, usages, key algorithm and the signature must match what is wanted
//     exactly. A name too many is drift as much as one too few: a certificate that still speaks for
//     a name the user took out of the specification is a certificate for somebody else's machine.
//   - A new certificate always gets a new key.
//   - Authorities sign leaves, not further authorities (path length 0).
//
// # Randomness
//
// Serial numbers are read from Env.Rand. Keys and signatures are not: since Go 1.26 the generators
// of crypto/ecdsa and crypto/rsa ignore the reader they are given. The same Env therefore does not
// make the same certificate twice, and nothing here relies on that.
package certs
