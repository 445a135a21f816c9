// Package check decides whether the hosts are fit to become, or to stay, a
// cluster. Every check is a named function over the facts of all hosts, in the
// style of testing.T: Assertf warns, Requiref refuses, and all results come at
// once, each with its host and a remedy. A check can be ignored by its name and
// in no other way; one that guards against damage for good cannot be ignored.
//
// The package is pure: it looks at facts that were gathered before.
package check
